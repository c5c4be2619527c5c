# fish completion for airgapbuild, which answers for itself; where it has no word, files.
function __airgapbuild
    set --local --export _AIRGAPBUILD_COMPLETE complete_fish
    set --local --export _TYPER_COMPLETE_FISH_ACTION $argv[1]
    set --local --export _TYPER_COMPLETE_ARGS (commandline --current-process --cut-at-cursor)
    airgapbuild 2>/dev/null
end
complete --command airgapbuild --no-files --condition '__airgapbuild is-args' \
    --arguments '(__airgapbuild get-args)'
