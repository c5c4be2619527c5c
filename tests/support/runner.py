"""Jobs of GitHub and GitLab as their runners would run them, on this machine.

Source: docs.github.com "Workflow syntax", `jobs.<id>.steps[*].shell` (bash is started with
`--noprofile --norc -eo pipefail`), "Workflow commands" (GITHUB_ENV, GITHUB_OUTPUT, GITHUB_PATH);
docs.gitlab.com "CI/CD inputs" (`$[[ inputs.x ]]`), gitlab-runner shells/bash.go.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_EXPRESSION = re.compile(r"\$\{\{ *([a-z_.-]+) *\}\}")
_INPUT = re.compile(r"\$\[\[ *inputs\.([a-z-]+) *\]\]")
_BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail")


@dataclass
class GitHubJob:
    """What the steps of one job share. Steps that use an action are for the test to replace."""

    workspace: Path
    temporary: Path
    env: dict[str, str]
    """Of the runner; steps may add to it."""
    context: Mapping[str, str]
    """What expressions stand for: `inputs.bundle`, `github.token`."""
    prefix: Sequence[str] = ()
    """What goes before a shell, to run it in a namespace."""
    outputs: dict[str, str] = field(default_factory=dict)

    def run(self, steps: Sequence[Mapping[str, Any]]) -> subprocess.CompletedProcess[str]:
        """Runs the steps up to one that fails; the last one that ran."""
        done = None
        for step in steps:
            if "run" in step:
                done = self._step(step)
                if done.returncode:
                    break
        assert done, "no step has a script"
        return done

    def _step(self, step: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
        names = ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH")
        files = {name: self.temporary / name for name in names}
        for file in files.values():
            file.write_text("")
        own = {name: self._evaluated(text) for name, text in step.get("env", {}).items()}
        given = {"RUNNER_TEMP": str(self.temporary), **{n: str(f) for n, f in files.items()}}
        (script := self.temporary / "step.sh").write_text(self._evaluated(step["run"]))
        done = subprocess.run(
            [*self.prefix, *_BASH, script],
            cwd=self.workspace,
            env={**self.env, **given, **own},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        self.env |= _assignments(files["GITHUB_ENV"].read_text())
        self.outputs |= _assignments(files["GITHUB_OUTPUT"].read_text())
        for folder in files["GITHUB_PATH"].read_text().splitlines():
            self.env["PATH"] = f"{folder}:{self.env['PATH']}"
        return done

    def _evaluated(self, text: str) -> str:
        return _EXPRESSION.sub(lambda found: self.context[found[1]], text)


def _assignments(text: str) -> dict[str, str]:
    """`name=value`, and `name<<END` with lines up to END."""
    found, lines = {}, iter(text.splitlines())
    for line in lines:
        name, mark, end = line.partition("<<")
        if mark and "=" not in name:
            found[name] = "\n".join(iter(lines.__next__, end))
        else:
            name, _, found_value = line.partition("=")
            found[name] = found_value
    return found


def defaults(action: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """The inputs of an action or a called workflow, as expressions see them."""
    known = {f"inputs.{name}": str(it.get("default", "")) for name, it in action["inputs"].items()}
    return known | {f"inputs.{name}": value for name, value in given.items()}


def gitlab_job(template: Path, given: Mapping[str, str], name: str = ".airgapbuild") -> list[str]:
    """The `before_script` of a component's job, with its inputs put in.

    An input without a default has to be given.
    """
    head, body = template.read_text().split("\n---\n")
    declared = yaml.safe_load(head)["spec"]["inputs"]
    values = {key: given[key] if key in given else it["default"] for key, it in declared.items()}
    job = yaml.safe_load(_INPUT.sub(lambda found: values[found[1]], body))[name]
    return list(job["before_script"])
