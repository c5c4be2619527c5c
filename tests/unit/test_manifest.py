from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgapbuild.cli.init import TEMPLATE
from airgapbuild.errors import ManifestError
from airgapbuild.manifest import (
    Manifest,
    entry_digest,
    mirror_in,
    parse_manifest,
    read_manifest,
)
from tests.engines import pki

HEAD = """version = 1
name = "builders"
platforms = ["linux/amd64", "linux/arm64"]
"""
IMAGE = """
[images.buildkit]
ref = "moby/buildkit:v0.34.2"
role = "builder"
"""


def parse(text: str, folder: Path = Path()) -> Manifest:
    return parse_manifest(text.encode(), "airgapbuild.toml", folder=folder)


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ManifestError) as caught:
        parse(text)
    return caught.value.lines


def test_the_template_of_init_is_a_manifest() -> None:
    manifest = parse(TEMPLATE)
    assert manifest.builder is not None
    assert manifest.builder.sealed


def test_the_template_holds_with_every_example_in_it() -> None:
    lines = [
        line.removeprefix("# ")
        if line.startswith(("# [", "# ref", "# role", "# mirrors"))
        else line
        for line in TEMPLATE.splitlines()
    ]
    manifest = parse("\n".join(lines))
    assert manifest.registries["docker.io"].mirrors == ("registry.corp.example/dockerhub",)
    assert set(manifest.images) == {"buildkit", "busybox"}


def test_an_image_has_the_manifests_platforms_unless_it_names_its_own() -> None:
    manifest = parse(
        HEAD + IMAGE + '\n[images.b]\nref = "b"\nrole = "tool"\nplatforms = ["linux/arm"]'
    )
    names = {
        name: [str(platform) for platform in manifest.platforms_of(entry)]
        for name, entry in manifest.images.items()
    }
    assert names == {"buildkit": ["linux/amd64", "linux/arm64"], "b": ["linux/arm/v7"]}


def test_paths_are_relative_to_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "corp.pem").write_text("x")
    text = HEAD + IMAGE + '\n[registries."r.example"]\nca = "corp.pem"'
    assert parse(text, tmp_path).registries["r.example"].ca == tmp_path / "corp.pem"


def test_a_policy_names_signers_and_a_serial(tmp_path: Path) -> None:
    (tmp_path / "signers").write_text("x")
    text = HEAD + IMAGE
    policy = parse(text + '[policy]\nallowed-signers = "signers"\nmin-serial = 0', tmp_path).policy
    assert policy is not None
    assert (policy.allowed_signers, policy.min_serial) == (tmp_path / "signers", 0)
    assert parse(text).policy is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            HEAD + IMAGE + '[policy]\nallowed-signers = "nobody"',
            f"airgapbuild.toml:9: policy.allowed-signers: there is no file '{Path.cwd()}/nobody'",
        ),
        (
            HEAD + IMAGE + "[policy]\nmin-serial = -1",
            "airgapbuild.toml:9: policy.min-serial: must be greater than or equal to 0, not -1",
        ),
        (
            HEAD + IMAGE + "[policy]\nsigners = 1",
            "airgapbuild.toml:9: policy.signers: unknown key, did you mean 'allowed-signers'?",
        ),
        (
            HEAD.replace("version = 1", "version = 2") + IMAGE,
            "airgapbuild.toml:1: version: must be 1, not 2",
        ),
        (
            HEAD + IMAGE.replace("role", "rolle"),
            "airgapbuild.toml:7: images.buildkit.rolle: unknown key, did you mean 'role'?",
        ),
        (
            HEAD + IMAGE.replace('"builder"', '"bilder"'),
            "airgapbuild.toml:7: images.buildkit.role: must be 'builder', 'binfmt', 'frontend', "
            "'base' or 'tool', not 'bilder'",
        ),
        (
            HEAD + IMAGE.replace("v0.34.2", "v 0"),
            "airgapbuild.toml:6: images.buildkit.ref: 'moby/buildkit:v 0' is not a reference: "
            "'v 0' is no tag",
        ),
        (
            HEAD + IMAGE + "tags = 3",
            "airgapbuild.toml:8: images.buildkit.tags: must be an array: [ … ], not 3",
        ),
        (
            HEAD + IMAGE + f'tags = ["x@sha256:{"0" * 64}"]',
            f"airgapbuild.toml:8: images.buildkit.tags.0: 'x@sha256:{'0' * 64}' must be "
            "repository:tag, without a digest",
        ),
        (
            HEAD + IMAGE + "\n[builder]\nname = 'b'\nimage = 'kit'",
            "airgapbuild.toml:11: builder.image: there is no [images.kit]; declared: buildkit",
        ),
        (
            HEAD + IMAGE.replace('"builder"', '"tool"') + "\n[builder]\nname='b'\nimage='buildkit'",
            'airgapbuild.toml:11: builder.image: [images.buildkit] must have role = "builder", '
            "not 'tool'",
        ),
        (
            HEAD + '[images.box]\nref = "busybox:1"\n[builder]\nname = "b"\nimage = "box"',
            'airgapbuild.toml:8: builder.image: [images.box] must have role = "builder", not '
            "'base'",
        ),
        (
            HEAD + IMAGE + "daemon = true",
            "airgapbuild.toml:8: images.buildkit.daemon: is for base and frontend images only: one "
            "of role builder goes to the daemon anyway",
        ),
        (
            HEAD + '[images.q]\nref = "tonistiigi/binfmt:qemu-v9"\ndaemon = false',
            "airgapbuild.toml:6: images.q.daemon: is for base and frontend images only: one of "
            "role binfmt goes to the daemon anyway",
        ),
        (
            HEAD + IMAGE.replace('"builder"', '["tool"]') + "daemon = 1",
            "airgapbuild.toml:7: images.buildkit.role: must be 'builder', 'binfmt', 'frontend', "
            "'base' or 'tool'",
        ),
        (
            HEAD + IMAGE + "\n[builder]\nname = 'default'\nimage = 'buildkit'",
            "airgapbuild.toml:10: builder.name: 'default' is no builder name: a letter, then "
            "letters, digits, '.', '-' or '_', and not 'default'",
        ),
        (
            HEAD + IMAGE + '[images.b]\nref = "docker.io/moby/buildkit:v0.34.2"\nrole = "tool"',
            "airgapbuild.toml:9: images.b.ref: 'docker.io/moby/buildkit:v0.34.2' is also a name "
            "of [images.buildkit]",
        ),
        (
            HEAD + IMAGE + '[images.b]\nref = "corp.example/moby/buildkit:v0.34.2"',
            "airgapbuild.toml:9: images.b.ref: a builder would know it by "
            "127.0.0.1:1/airgapbuild/moby/buildkit:v0.34.2, as it would [images.buildkit]: give "
            'one of the two role = "tool", or take another version',
        ),
        (
            HEAD
            + IMAGE
            + '[images.b]\nref = "oci-layout:out:v0.34.2"\nrole = "builder"\n'
            + 'tags = ["z.example/kit:1", "corp.example/moby/buildkit:1"]',
            "airgapbuild.toml:9: images.b.ref: a builder would know it by "
            "127.0.0.1:1/airgapbuild/moby/buildkit:v0.34.2, as it would [images.buildkit]: give "
            'one of the two role = "tool", or take another version',
        ),
        (
            HEAD + IMAGE + '[images.b]\nref = "oci-layout:out"\nrole = "base"',
            "airgapbuild.toml:9: images.b.ref: an image of a layout has no name: give it one in "
            'tags = ["corp/name:1"]',
        ),
        (
            HEAD + IMAGE + '[images.b]\nref = "docker-daemon:moby/buildkit:v0.34.2"\nrole = "tool"',
            "airgapbuild.toml:9: images.b.ref: 'docker-daemon:moby/buildkit:v0.34.2' is also a "
            "name of [images.buildkit]",
        ),
        (
            HEAD + IMAGE + 'tags = ["docker-daemon:x:1"]',
            "airgapbuild.toml:8: images.buildkit.tags.0: 'docker-daemon:x:1' is not a reference: "
            "'docker-daemon:x' is no repository name",
        ),
        (
            HEAD + IMAGE + '[registries."r.example"]\nca = "~nobody-of-this-name/ca.pem"',
            'airgapbuild.toml:9: registries."r.example".ca: there is no file '
            f"'{Path.cwd()}/~nobody-of-this-name/ca.pem'",
        ),
        (
            HEAD + IMAGE + "[bundle]\nattestation = false",
            "airgapbuild.toml:9: bundle.attestation: unknown key, did you mean 'attestations'?",
        ),
        (
            HEAD + IMAGE + '[bundle]\nlayers = "small"',
            "airgapbuild.toml:9: bundle.layers: must be 'exact' or 'compact', not 'small'",
        ),
        (
            HEAD + IMAGE + "[bundle]\nlevel = 9",
            'airgapbuild.toml:9: bundle.level: is for layers = "compact" only',
        ),
        (
            HEAD + IMAGE + '[bundle]\nlayers = "compact"\nlevel = 22',
            "airgapbuild.toml:10: bundle.level: must be less than or equal to 19, not 22",
        ),
        (HEAD, "airgapbuild.toml: images: is missing"),
        (HEAD + "[images]", "airgapbuild.toml:4: images: must not be empty"),
        (
            HEAD.replace('"linux/amd64", "linux/arm64"', '"linux"') + IMAGE,
            "airgapbuild.toml:3: platforms.0: 'linux' is not a platform: write os/architecture, "
            "such as linux/amd64",
        ),
        (
            HEAD.replace('"linux/arm64"', '"linux"') + IMAGE,
            "airgapbuild.toml:3: platforms.1: 'linux' is not a platform: write os/architecture, "
            "such as linux/amd64",
        ),
        (
            HEAD + IMAGE + '[registries."docker.io"]\nmirrors = ["https://m.example"]',
            "airgapbuild.toml:9: registries.\"docker.io\".mirrors.0: 'https://m.example' must be "
            "host[:port][/path] without a scheme; plain http is `http = true` in the mirror's own "
            "registry table",
        ),
        (
            HEAD + IMAGE + '[registries."docker.io"]\nmirrors = ["$A-B"]',
            "airgapbuild.toml:9: registries.\"docker.io\".mirrors.0: '$A-B' is not a registry "
            "host: write host or host:port, no scheme",
        ),
        (
            HEAD + IMAGE + "[builder]\nname='b'\nimage='buildkit'\ndriver_opts={}",
            "airgapbuild.toml:11: builder.driver_opts: unknown key, did you mean 'driver-opts'?",
        ),
        (
            HEAD + IMAGE + '[registries."docker.io"]\nhttp = "yes"',
            "airgapbuild.toml:9: registries.\"docker.io\".http: must be true or false, not 'yes'",
        ),
        (
            HEAD + IMAGE.replace('"moby/buildkit:v0.34.2"', "true"),
            "airgapbuild.toml:6: images.buildkit.ref: must be text in quotes, not true",
        ),
        (
            HEAD + IMAGE + '[registries]\n"docker.io" = 3',
            'airgapbuild.toml:9: registries."docker.io": must be a table, not 3',
        ),
        (
            HEAD + IMAGE + '[registries."docker.io/Library"]\nupstream = false',
            "airgapbuild.toml:8: registries.\"docker.io/Library\": 'docker.io/Library' is "
            "no registry, and no part of one: write host[:port][/path], no scheme, no tag",
        ),
        (
            HEAD + IMAGE + '[registries."https://r.example"]',
            "airgapbuild.toml:8: registries.\"https://r.example\": 'https://r.example' is "
            "no registry, and no part of one: write host[:port][/path], no scheme, no tag",
        ),
        (
            HEAD + IMAGE + '[registries."docker.io/library"]\nhttp = true',
            'airgapbuild.toml:9: registries."docker.io/library".http: belongs to the host: write '
            'it in [registries."docker.io"]',
        ),
        (
            HEAD + IMAGE + '[registries."docker.io"]\n[registries."index.docker.io"]',
            'airgapbuild.toml:9: registries."index.docker.io": is the same as '
            '[registries."docker.io"]: make one table of both',
        ),
        (
            HEAD + IMAGE + '[registries."docker.io/moby/buildkit"]\nmirrors = ["m.example:5000"]',
            'airgapbuild.toml:9: registries."docker.io/moby/buildkit".mirrors.0: '
            "'m.example:5000' needs a path, since it stands for all of docker.io/moby/buildkit: "
            "'m.example:5000/buildkit'",
        ),
        (
            HEAD + IMAGE + "[buildkitd.worker.oci]\nmax-paralelism = 3",
            "airgapbuild.toml:9: buildkitd.worker.oci.max-paralelism: unknown key, did you mean "
            "'max-parallelism'?",
        ),
        ("version = ", "airgapbuild.toml:1:11: not TOML: Invalid value"),
        ('version = 1\nname = "x', "airgapbuild.toml:2:10: not TOML: Unterminated string"),
        ("a = 1\na = 2", "airgapbuild.toml:2:6: not TOML: Cannot overwrite a value"),
    ],
)
def test_a_problem_has_file_line_and_key(text: str, line: str) -> None:
    assert line in problems(text)


@pytest.mark.parametrize(
    ("entry", "role"),
    [
        ('ref = "moby/buildkit:rootless"', "builder"),
        ('ref = "mirror.corp.example/hub/moby/buildkit:v0.34.2-rootless"', "builder"),
        ('ref = "docker-daemon:corp/moby/buildkit:1"', "builder"),
        ('ref = "oci-layout:moby/buildkit"\ntags = ["corp/own:1"]', "base"),
        ('ref = "oci-layout:out/kit"\ntags = ["corp/moby/buildkit:1"]', "builder"),
        ('ref = "tonistiigi/binfmt"', "binfmt"),
        ('ref = "docker/dockerfile:1"', "frontend"),
        ('ref = "docker/dockerfile-upstream:master-labs"', "frontend"),
        ('ref = "docker/dockerfile:1"\nrole = "tool"', "tool"),
        ('ref = "notmoby/buildkit:1"', "base"),
        ('ref = "moby/buildkit-debug:1"', "base"),
        ('ref = "buildkit:1"', "base"),
    ],
)
def test_a_role_that_nobody_states_follows_from_the_name(entry: str, role: str) -> None:
    manifest = parse(f"{HEAD}[images.it]\n{entry}")
    [image] = manifest.images.values()
    assert image.purpose == role
    stated = image.model_copy(update={"role": role})
    platforms = manifest.platforms_of(image)
    digests = {entry_digest(it, platforms, manifest.bundle) for it in (image, stated)}
    assert len(digests) == 1


def test_a_builder_needs_no_stated_role() -> None:
    text = HEAD + IMAGE.replace('role = "builder"\n', "")
    assert parse(text + '[builder]\nname = "b"\nimage = "buildkit"').builder is not None


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    text = (
        HEAD.replace("version = 1", "version = 1\nextra = 2")
        + IMAGE.replace("v0.34.2", "!")
        + "\n[builder]\nname = 3\nimage = 'kit'"
    )
    lines = [problem.split(": ")[0] for problem in problems(text)]
    assert lines == [f"airgapbuild.toml:{number}" for number in (2, 7, 11, 12)]


def test_bytes_that_are_not_utf8_have_a_line() -> None:
    with pytest.raises(ManifestError, match=r"^airgapbuild\.toml:2: not UTF-8$"):
        parse_manifest(b"version = 1\n\xff", "airgapbuild.toml", folder=Path())


def test_a_missing_manifest_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="there is no such file") as caught:
        read_manifest(tmp_path / "airgapbuild.toml")
    assert caught.value.hint == "`airgapbuild init` writes one to start from"


VALUE: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_bytes_are_a_manifest_or_a_manifest_error(raw: str | bytes) -> None:
    data = raw if isinstance(raw, bytes) else raw.encode("utf-8", "surrogatepass")
    with pytest.raises(ManifestError):
        parse_manifest(data, "airgapbuild.toml", folder=Path())


@given(
    st.dictionaries(
        st.sampled_from(["version", "name", "images", "registries", "builder", "buildkitd"]), VALUE
    )
)
def test_any_values_are_a_manifest_error_with_places(values: dict[str, Any]) -> None:
    import tomli_w  # noqa: PLC0415

    try:
        text = tomli_w.dumps(values)
    except TypeError:  # TOML has no null
        return
    for line in problems(text):
        assert line.startswith("airgapbuild.toml")


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "bundles").glob("*.toml")))
def test_the_examples_are_manifests(path: Path) -> None:
    assert read_manifest(path).name == path.stem


@pytest.mark.parametrize(
    ("page", "images"),
    [
        ("README.md", {"buildkit", "python"}),
        ("docs/en/manifest.md", {"buildkit", "python", "dockerfile", "own"}),
        ("docs/zh/manifest.md", {"buildkit", "python", "dockerfile", "own"}),
    ],
)
def test_the_documentations_manifest_is_one(page: str, images: set[str], tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / page).read_text()
    [text, *_] = [block.split("```")[0] for block in text.split("```toml\n")[1:]]
    (tmp_path / "certs").mkdir()
    for name in ("corp", "inside"):
        pki.authority(tmp_path / "certs", name)
    manifest = parse(text, tmp_path)
    assert set(manifest.images) == images


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ('"1900MiB"', 1900 << 20),
        ('"100MB"', 100_000_000),
        ('"4GiB"', 4 << 30),
        ('"2GB"', 2_000_000_000),
        ('"1024KiB"', 1 << 20),
        ('"2000KB"', 2_000_000),
        ('"1048576"', 1 << 20),
        ("1048576", 1 << 20),
    ],
)
def test_a_part_size_is_bytes_with_or_without_a_unit(text: str, size: int) -> None:
    assert parse(f"{HEAD}{IMAGE}[bundle]\npart-size = {text}\n").bundle.part_size == size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"1900 MiB"', "'1900 MiB' is no size: write 1900MiB, 100MB (KiB, GiB, KB, GB) or bytes"),
        ('"1.5GiB"', "'1.5GiB' is no size: write 1900MiB, 100MB (KiB, GiB, KB, GB) or bytes"),
        ('"100mb"', "'100mb' is no size: write 1900MiB, 100MB (KiB, GiB, KB, GB) or bytes"),
        ('"-1GiB"', "'-1GiB' is no size: write 1900MiB, 100MB (KiB, GiB, KB, GB) or bytes"),
        ("1.5", "1.5 is no size: write 1900MiB, 100MB (KiB, GiB, KB, GB) or bytes"),
        ("true", "True is no size: write 1900MiB, 100MB (KiB, GiB, KB, GB) or bytes"),
        ('"1900KiBs"', "'1900KiBs' is no size: write 1900MiB, 100MB (KiB, GiB, KB, GB) or bytes"),
        ('"1023KiB"', "'1023KiB' is less than 1MiB, the least for a part"),
        ("1900", "1900 is less than 1MiB, the least for a part"),
        ("0", "0 is less than 1MiB, the least for a part"),
    ],
)
def test_what_is_no_part_size_is_told(text: str, message: str) -> None:
    found = problems(f"{HEAD}{IMAGE}[bundle]\npart-size = {text}\n")
    assert found == (f"airgapbuild.toml:9: bundle.part-size: {message}",)


def test_a_part_size_makes_no_lock_stale() -> None:
    plain, split = parse(HEAD + IMAGE), parse(f'{HEAD}{IMAGE}[bundle]\npart-size = "1GiB"\n')
    platforms = plain.platforms
    assert entry_digest(plain.images["buildkit"], platforms, plain.bundle) == entry_digest(
        split.images["buildkit"], platforms, split.bundle
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("m.example/hub", "m.example/hub"),
        ("$HUB", "m.example:443/group"),
        ("${HUB}", "m.example:443/group"),
        ("$HUB/library", "m.example:443/group/library"),
        ("$UNSET/library", None),
        ("$EMPTY", None),
    ],
)
def test_a_mirror_may_be_a_variable(text: str, found: str | None) -> None:
    environ = {"HUB": "m.example:443/group/", "EMPTY": ""}
    assert mirror_in(text, environ) == found
    manifest = parse(HEAD + IMAGE + f'[registries."docker.io"]\nmirrors = ["{text}"]')
    assert manifest.registries["docker.io"].mirrors == (text,)


@pytest.mark.parametrize(
    "value",
    ["https://bot:hunter2@mirror.example/hub", "bot:hunter2@mirror.example", "a/B?hunter2"],
)
def test_what_a_variable_holds_is_not_told(value: str) -> None:
    with pytest.raises(ValueError, match=r"^\$MIRROR is no host\[:port\]") as caught:
        mirror_in("$MIRROR", {"MIRROR": value})
    assert "hunter2" not in str(caught.value)
