#!/bin/sh
# Brings this bundle into a Docker daemon and sets up its builder, with a plain shell alone.
#
# It is the same in every bundle that one version of airgapbuild writes, so that it can be read once;
# whoever does not trust the bundle runs a copy of their own: sh install.sh [options] BUNDLE.
# `airgapbuild load` does more: it proves every layer, sends what is missing only, and keeps base
# images with their digests.
#
# It needs docker, what every system has (sed, grep, cut, sort, tr, mktemp, sha256sum or shasum),
# ssh-keygen for signatures, and zstd where Docker is older than 23.
set -eu
LC_ALL=C
export LC_ALL
unset CDPATH

readonly NAMESPACE=airgapbuild-bundle
newline='
'
readonly newline FILE_NAME='[A-Za-z0-9][A-Za-z0-9._-]*'

usage() {
	cat <<'END'
usage: sh install.sh [options] [BUNDLE]

Verifies the bundle's files, loads the images for the daemon's platform, and sets up the builder.
BUNDLE is the folder that this script lies in, unless given.

  --allowed-signers FILE   refuse a bundle that none of these has signed (see ssh-keygen(1))
  --signer PRINCIPAL       only this one of them; may be given several times
  --platform OS/ARCH       load for this platform, not for the daemon's own
  --no-builder             load the images alone
  -h, --help               show this

exit codes: 0 done, 2 usage, 6 a file is not what its sum says, 7 files are missing or foreign,
8 docker, 9 builder, 10 signature
END
}

say() {
	printf '%s\n' "$1"
}

note() {
	printf 'note: %s\n' "$1" >&2
}

# fail CODE MESSAGE [HINT]
fail() {
	printf 'error: %s\n' "$2" >&2
	[ $# -lt 3 ] || printf 'hint: %s\n' "$3" >&2
	exit "$1"
}

has() {
	command -v "$1" >/dev/null 2>&1
}

is_file() {
	[ -f "$1" ] && [ ! -h "$1" ]
}

# A name that the bundle does not vouch for, as a terminal may get it.
shown() {
	printf '%s' "$1" | tr -c ' -~' '?'
}

# ---- The bundle's files --------------------------------------------------------------------------

check_signature() {
	if [ -z "$allowed_signers" ]; then
		[ ! -e SHA256SUMS.sig ] ||
			note "the bundle is signed; nobody has checked that: give --allowed-signers FILE"
		return
	fi
	[ -r "$allowed_signers" ] || fail 2 "$allowed_signers: cannot be read"
	is_file SHA256SUMS.sig ||
		fail 10 "$PWD: is not signed" "bring SHA256SUMS.sig over, too, or ask the sender to sign"
	has ssh-keygen ||
		fail 10 "ssh-keygen is not here: the signature cannot be checked" "install openssh-client"
	if [ -z "$signers" ]; then
		signers=$(ssh-keygen -Y find-principals -f "$allowed_signers" -s SHA256SUMS.sig \
			2>/dev/null) || signers=
	fi
	while IFS= read -r signer; do
		[ -n "$signer" ] || continue
		if ssh-keygen -Y verify -f "$allowed_signers" -I "$signer" -n "$NAMESPACE" \
			-s SHA256SUMS.sig <SHA256SUMS >/dev/null 2>&1; then
			say "signed by $signer"
			return
		fi
	done <<END
$signers
END
	fail 10 "SHA256SUMS: not signed by anybody who may, or changed since" \
		"see: ssh-keygen -Y check-novalidate -n $NAMESPACE -s SHA256SUMS.sig <SHA256SUMS"
}

sum_of() {
	if has sha256sum; then
		sha256sum <"$1"
	else
		shasum -a 256 <"$1"
	fi | cut -c 1-64
}

is_listed() {
	case "$newline$names$newline" in
	*"$newline$1$newline"*) ;;
	*) return 1 ;;
	esac
}

# Whether the last line has its end, too: `read` would pass over it otherwise, and so over its file.
ends_its_lines() {
	case $(cat "$1" && say .) in
	*"$newline.") ;;
	*) return 1 ;;
	esac
}

check_files() {
	is_file SHA256SUMS || fail 7 "$PWD: there is no SHA256SUMS: not a bundle"
	names=$(cut -c 67- SHA256SUMS)
	if grep -Evq "^[0-9a-f]{64}  $FILE_NAME\$" SHA256SUMS || ! ends_its_lines SHA256SUMS ||
		! is_listed bundle.json; then
		fail 7 "SHA256SUMS: cannot be read" "bring this file over again"
	fi
	check_signature
	check_foreign
	has sha256sum || has shasum || fail 6 "neither sha256sum nor shasum is here: nothing is proven"
	wrong=
	while IFS=' ' read -r sum name; do
		if [ -e "$name" ] && [ "$(sum_of "$name")" != "$sum" ]; then
			wrong="$wrong $name"
		fi
	done <SHA256SUMS
	[ -z "$wrong" ] || fail 6 "not what SHA256SUMS says:$wrong" "bring these files over again"
	missing=
	for name in $names; do
		case $name in
		*.oci.tar.zst | *.oci.tar.zst.[0-9]*) ;; # other platforms need not come along
		*) [ -e "$name" ] || missing="$missing $name" ;;
		esac
	done
	[ -z "$missing" ] || fail 7 "missing:$missing" "bring these files over, too"
	# Such a bundle leaves out what an older one has; airgapbuild alone can put the two together.
	! grep -Eq '"(requires|reference)" *:' bundle.json ||
		fail 7 "this bundle holds only what differs from an older one" "use: airgapbuild load"
}

check_foreign() {
	for name in * .[!.]*; do
		if [ ! -e "$name" ] && [ ! -h "$name" ]; then
			continue # a pattern that nothing matches stays as it is
		fi
		case $name in
		SHA256SUMS | SHA256SUMS.sig) continue ;;
		esac
		is_listed "$name" ||
			fail 7 "$(shown "$name"): does not belong to the bundle" "move it away"
		is_file "$name" || fail 7 "$name: not a plain file"
	done
}

# ---- Images --------------------------------------------------------------------------------------

check_docker() {
	has docker || fail 8 "docker is not here"
	server=$(docker version --format '{{.Server.Version}} {{.Server.Os}}/{{.Server.Arch}}') ||
		fail 8 "the Docker daemon does not answer" "start it, or name it in DOCKER_HOST"
	version=${server%% *}
	platform=${platform:-${server#* }}
	if [ "$platform" = linux/arm ]; then
		case $(docker info --format '{{.Architecture}}') in
		armv6*) platform=linux/arm/v6 ;;
		*) platform=linux/arm/v7 ;;
		esac
	fi
}

load_images() {
	slug=$(printf '%s' "$platform" | tr / -)
	tarballs=$(say "$names" | sed -n "s/^\(.*_$slug\.oci\.tar\.zst\)\(\.[0-9]*\)\{0,1\}\$/\1/p" | sort -u)
	[ -n "$tarballs" ] ||
		fail 7 "the bundle has nothing for $platform" "it is for:$(platforms); see --platform"
	missing=
	for tarball in $tarballs; do
		for file in $(files_of "$tarball"); do
			[ -e "$file" ] || missing="$missing $file"
		done
	done
	[ -z "$missing" ] || fail 7 "missing:$missing" "bring these files over, too"
	old_docker=
	case ${version%%.*} in
	[0-9] | 1[0-9] | 2[0-2])
		old_docker=yes # it reads no zstd
		has zstd || fail 8 "Docker $version cannot read the tarballs" "install zstd, or Docker 23"
		;;
	esac
	for tarball in $tarballs; do
		load "$tarball"
	done
}

# The platforms of the bundle, each with a space before it.
platforms() {
	say "$names" | sed -n 's/.*_\([a-z0-9-]*\)\.oci\.tar\.zst.*/\1/p' | sort -u | tr -- '-\n' '/ ' |
		sed 's/^/ /; s/ $//'
}

# The file of a tarball, or its parts in their order.
files_of() {
	if is_listed "$1"; then
		say "$1"
		return
	fi
	part=1
	while file=$1.$(printf '%03d' "$part") && is_listed "$file"; do
		say "$file"
		part=$((part + 1))
	done
}

joined() {
	# shellcheck disable=SC2046 # names of files have no spaces: check_files has seen to it
	cat $(files_of "$1") || broke_off
}

readable() {
	if [ -n "$old_docker" ]; then
		zstd -dc --long=27 || broke_off
	else
		cat
	fi
}

# A pipe has the status of its end alone.
broke_off() {
	say "the tarball broke off" >&3
}

load() {
	say "loading $1"
	said=$({ joined "$1" | readable | docker load 2>&1; } 3>&1) ||
		fail 8 "$1: docker load failed: $said"
	# The containerd store tells of a failure, and ends well all the same.
	case $said in
	*"Error unpacking image"* | *"the tarball broke off"*)
		fail 8 "$1: the daemon could not load it: $said" ;;
	*"Loaded image"*) say "$said" ;;
	*) fail 8 "$1: docker load did nothing: $said" ;;
	esac
}

say_of_bases() {
	! grep -Eq '^role = "(base|frontend)"' airgapbuild.lock || say "\
base images are in the daemon, where only docker's own builder finds them (--builder default);
for others: mkdir DIR; cat TARBALL | zstd -dc | tar -xC DIR; and then
docker buildx build --build-context NAME=oci-layout://DIR@DIGEST . (DIGEST as in airgapbuild.lock)"
}

# ---- The builder ---------------------------------------------------------------------------------

# The driver option of this name in builder.json, which is one line.
setting() {
	sed -n "s/.*\"$1\":\"\([^\"\\\\]*\)\".*/\1/p" builder.json
}

set_up_builder() {
	name=$(sed -n 's/^{"Name":"\([^"]*\)".*/\1/p' builder.json)
	case $name in
	'' | [!A-Za-z]* | *[!A-Za-z0-9._-]*) fail 9 "builder.json: cannot be read" ;;
	esac
	elsewhere="use: airgapbuild load, or --no-builder"
	case $(cat builder.json) in
	*'"Endpoint":'*'"Endpoint":'*) fail 9 "the builder $name has several nodes" "$elsewhere" ;;
	*'"Driver":"docker-container"'*'"Endpoint":"default"'*) ;;
	*) fail 9 "the builder $name does not run on this daemon" "$elsewhere" ;;
	esac
	lower=$(printf '%s' "$name" | tr '[:upper:]' '[:lower:]')
	: "${HOME:?must be set: docker keeps its settings there}"
	write_instance
	config=${XDG_CONFIG_HOME:-$HOME/.config}/airgapbuild/$name
	write "$config/buildkitd.toml" <buildkitd.toml
	remove_other_container "buildx_buildkit_${lower}0"
	docker buildx version >/dev/null 2>&1 ||
		fail 9 "docker has no buildx; the builder's files are written" \
			"install the docker-buildx-plugin, then: docker buildx use $name"
	docker buildx use "$name" || fail 9 "buildx cannot use the builder $name"
	buildkit=$(docker buildx inspect --bootstrap "$name" |
		sed -n 's/^[Bb]uild[Kk]it\( version\)\{0,1\}: *\(.*\)/\2/p')
	[ -n "$buildkit" ] ||
		fail 9 "the builder $name does not start" "see: docker buildx inspect --bootstrap $name"
	say "builder $name runs BuildKit $buildkit, and is the current one"
	say "now: docker buildx build ."
}

write_instance() {
	store=${BUILDX_CONFIG:-${DOCKER_CONFIG:-$HOME/.docker}/buildx}
	instance=$store/instances/$lower
	remedy="choose another [builder] name, or remove it: docker buildx rm $name"
	if docker context inspect "$name" >/dev/null 2>&1; then
		fail 9 "'$name' is the name of a docker context" "choose another [builder] name"
	fi
	if [ -e "$instance" ] && ! grep -q '"env.AIRGAPBUILD_CONFIG":' "$instance"; then
		fail 9 "builder '$name' exists, and is not airgapbuild's" "$remedy"
	fi
	context=$(docker context ls --format '{{if .Current}}{{.Name}}{{end}}' 2>/dev/null |
		grep -Ex '[A-Za-z0-9][A-Za-z0-9_.+-]*') || context=default
	sed "s/\"Endpoint\":\"default\"/\"Endpoint\":\"$context\"/" builder.json |
		write "$instance" "$store" || exit
}

# write FILE [FOLDER]: standard input into a file, which appears whole or not at all. It is staged in
# FOLDER, else beside: buildx takes every file in its folder of instances for one. Its name is new,
# since another job may be writing the same, also one whose process has the same number elsewhere.
write() {
	(
		umask 077
		mkdir -p "${1%/*}" && staged=$(mktemp "${2:-${1%/*}}/.airgapbuild.XXXXXX") || exit
		trap 'rm -f "$staged"' EXIT
		trap 'exit 1' HUP INT TERM
		cat >"$staged" && mv -f "$staged" "$1"
	) || fail 9 "$1: cannot be written"
}

# Buildx goes on using a container, whatever it was made from. Its cache is a volume, which stays.
remove_other_container() {
	made=$(docker container inspect "$1" \
		--format '{{.Image}} {{range .Config.Env}} {{.}}{{end}} ' 2>/dev/null) || return 0
	image=$(docker image inspect "$(setting image)" --format '{{.Id}}' 2>/dev/null) || image=none
	case $made in
	"$image "*" AIRGAPBUILD_CONFIG=$(setting env.AIRGAPBUILD_CONFIG) "*) ;;
	*)
		note "$1 was made from something else: it is removed"
		docker rm -f "$1" >/dev/null || fail 9 "$1: cannot be removed"
		;;
	esac
}

# Private keys never travel in a bundle, so builder.json has none.
check_keys() {
	! grep -Eq '^(keypair|tlsconfigdir) = |\.keypair\]\]$' airgapbuild.lock ||
		fail 9 "the builder needs client keys of this machine" "use: airgapbuild load, or --no-builder"
}

# ---- From here on it runs ------------------------------------------------------------------------

main() {
	allowed_signers='' signers='' platform='' builder=yes bundle=''
	while [ $# -gt 0 ]; do
		case $1 in
		--allowed-signers | --signer | --platform)
			[ -n "${2:-}" ] || fail 2 "$1: needs a value" "see: sh install.sh --help"
			case $1 in
			--allowed-signers) allowed_signers=$2 ;;
			--signer) signers=$signers$2$newline ;;
			--platform) platform=$2 ;;
			esac
			shift
			;;
		--no-builder) builder= ;;
		-h | --help)
			usage
			exit
			;;
		-*) fail 2 "$1: there is no such option" "see: sh install.sh --help" ;;
		*)
			[ -z "$bundle" ] || fail 2 "$1: one bundle at a time"
			bundle=$1
			;;
		esac
		shift
	done
	[ -z "$signers" ] || [ -n "$allowed_signers" ] || fail 2 "--signer needs --allowed-signers"
	case $platform in
	'') ;;
	*[!a-z0-9/]* | /* | */) fail 2 "$platform: is no platform: write os/arch, such as linux/amd64" ;;
	*/*) ;;
	*) fail 2 "$platform: is no platform: write os/arch, such as linux/amd64" ;;
	esac
	case $allowed_signers in
	'' | /*) ;;
	*) allowed_signers=$PWD/$allowed_signers ;;
	esac
	case $0 in
	*/*) here=${0%/*} ;;
	*) here=. ;;
	esac
	cd -- "${bundle:-$here/}" 2>/dev/null || fail 7 "${bundle:-$here}: cannot be entered"
	check_files
	[ -z "$builder" ] || check_keys
	check_docker
	load_images
	say_of_bases
	if [ -z "$builder" ]; then
		say "the images are loaded"
	elif [ -e builder.json ]; then
		set_up_builder
	else
		say "the images are loaded; the bundle asks for no builder"
	fi
}

main "$@"
