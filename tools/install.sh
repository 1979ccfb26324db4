#!/usr/bin/env bash
# Sets up the environment that EAN-MM is developed and demonstrated in.
#
#   [STACK=onedl] tools/install.sh [--demo] [VENV]     default: .venv in this checkout
#
# With --demo it installs only what classification needs, and mmcv-lite, the part of
# mmcv that is pure Python: nothing is compiled. Without, mmcv with its operators takes
# the place of mmcv-lite, and all toolboxes and development tools are installed.
#
# The toolboxes are OpenMMLab's, or with STACK=onedl their continuation, the onedl-*
# packages, by default in .venv-onedl: the two have the same import names.
#
# Safe to run again: what is there already is kept, a torch, torchvision or mmcv of
# the user's own included. mmcv has no wheel for this torch, so it is compiled once
# per machine, Python and torch version, and the wheel is kept in EAN_MM_CACHE
# (default ~/.cache/ean-mm).
set -euo pipefail

scope=all
case ${1:-} in
  -h | --help)
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0"
    exit
    ;;
  --demo)
    scope=demo
    shift
    ;;
esac

fail() {
  echo "install: $1" >&2
  exit 1
}

root=$(cd "$(dirname "$0")/.." && pwd)
case ${STACK:=openmmlab} in
  openmmlab) mmcv=mmcv mmcv_version=2.1.0 other=onedl-mmcv default=.venv ;;
  onedl) mmcv=onedl-mmcv mmcv_version=2.3.6 other="mmcv mmcv-lite" default=.venv-onedl ;;
  *) fail "there is no stack '$STACK'; use STACK=openmmlab or STACK=onedl" ;;
esac
venv=${1:-$root/$default}
cache=${EAN_MM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ean-mm}
python=${PYTHON:-python3}
log=$venv/install.log
started=$SECONDS

# step LABEL EXPECTED_TIME COMMAND...: run quietly, say how long it took
step() {
  local label=$1 expected=$2 begin=$SECONDS
  shift 2
  printf '  %-44s (about %s) ... ' "$label" "$expected"
  if "$@" >>"$log" 2>&1; then
    echo "done in $((SECONDS - begin)) s"
  else
    echo "failed"
    tail -n 15 "$log" >&2
    fail "'$label' failed; the whole log is $log"
  fi
}

has() { "$venv/bin/python" -c "import importlib.util as u, sys; sys.exit(not u.find_spec('$1'))"; }
installed() { version "$1" >/dev/null 2>&1; }
version() { "$venv/bin/python" -c "from importlib.metadata import version; print(version('$1'))"; }
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

command -v "$python" >/dev/null || fail "no '$python' on the PATH; name one: make install PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' ||
  fail "$("$python" --version) is not supported; name a Python from 3.10 to 3.12: make install PYTHON=python3.11"

echo "Setting up EAN-MM with the $STACK toolboxes in $venv"
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
  # An interpreter that already has torch lends it to the new environment.
  inherit=()
  if "$python" -c 'import torch' 2>/dev/null; then
    inherit=(--system-site-packages)
    echo "  $python has torch: the environment uses it"
  fi
  "$python" -m venv "${inherit[@]}" "$venv" ||
    fail "'$python -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv"
fi
: >>"$log"

hash=$(cd "$root" && cat setup.py requirements/*.txt tools/install.sh | sha256sum | cut -d' ' -f1)
stamp="$hash $STACK $root"
finished=$(cat "$venv/.ean-mm-installed" 2>/dev/null || true)
if [ "$finished" = "all $stamp" ] || [ "$finished" = "$scope $stamp" ]; then
  echo "  everything is in place already"
  exit 0
fi

finish() {
  echo "$scope $stamp" >"$venv/.ean-mm-installed"
  echo "Ready after $((SECONDS - started)) s: $venv"
  exit 0
}

for each in $other; do
  if installed "$each"; then
    fail "$venv has $each, which does not go together with $mmcv; name another environment: make install STACK=$STACK VENV=/path/to/env"
  fi
done

# A user's torch is never replaced: it becomes a constraint for all that follows.
constraints=$venv/ean-mm-constraints.txt
: >"$constraints"
torch=(torch==2.11.0 torchvision==0.26.0)
if has torch; then
  echo "torch==$(version torch)" >"$constraints"
  echo "  keeping torch $(version torch)"
  torch=(torchvision)
fi

if [ $scope = demo ] && [ "$STACK" = onedl ]; then
  echo "  onedl-mmcv has no wheel without operators: all is installed, and it is compiled"
  scope=all
elif installed mmcv; then
  scope=all
fi
if [ $scope = demo ]; then
  # One call of pip, for each resolves again what is there. Without compiling Python:
  # 33 s less of a processor, for imports compile only the two fifths that they use.
  step "PyTorch, and what classification needs" "90 s" \
    pip install --no-compile -c "$constraints" "${torch[@]}" -e "$root[classification]"
  finish
fi

step "build tools" "10 s" pip install "setuptools>=77,<81" wheel ninja psutil

has torchvision || step "PyTorch: ${torch[*]}" "70 s" pip install -c "$constraints" "${torch[@]}"
printf 'torch==%s\ntorchvision==%s\n' "$(version torch)" "$(version torchvision)" >"$constraints"

if has mmcv && ! installed mmcv-lite; then
  echo "  keeping $mmcv $(version "$mmcv")"
else
  wheels=$cache/$mmcv-$("$venv/bin/python" -c \
    'import sys, platform, torch; print(f"cp{sys.version_info[0]}{sys.version_info[1]}-torch{torch.__version__}-{platform.machine()}")')
  wheel=${mmcv//-/_}-$mmcv_version
  if ! ls "$wheels/$wheel"-*.whl >/dev/null 2>&1; then
    mkdir -p "$wheels"
    building=$(mktemp -d "$wheels/building.XXXXXX")
    trap 'rm -rf "$building"' EXIT
    # Without debug symbols it compiles in half the time.
    step "$mmcv $mmcv_version, compiled (once a machine)" "10 min on 2 cores" \
      env CFLAGS="${CFLAGS:-} -g0" MMCV_WITH_OPS=1 MAX_JOBS="${MAX_JOBS:-$(nproc)}" "$venv/bin/python" -m pip wheel \
      --no-deps --no-build-isolation --no-cache-dir -w "$building" "$mmcv==$mmcv_version"
    mv "$building/$wheel"-*.whl "$wheels/"
  fi
  if installed mmcv-lite; then
    step "removing mmcv-lite, which has no operators" "2 s" pip uninstall -y mmcv-lite mmcv
  fi
  step "$mmcv $mmcv_version" "15 s" pip install -c "$constraints" "$wheels/$wheel"-*.whl
fi

step "toolboxes" "1 min" \
  pip install --no-build-isolation -c "$constraints" -r "$root/requirements/$STACK.txt"
step "EAN-MM and its development tools" "30 s" \
  pip install --no-build-isolation -c "$constraints" -e "$root" -r "$root/requirements/search.txt" -r "$root/requirements/deploy.txt" -r "$root/requirements/report.txt" -r "$root/requirements/dev.txt"

# Another OpenCV, which grad-cam asks for, would overwrite that of mmcv.
step "Grad-CAM" "10 s" \
  pip install --no-build-isolation --no-deps -r "$root/requirements/visualization.txt"

"$venv/bin/python" -c 'import ean_mm' >>"$log" 2>&1 || fail "ean_mm does not import; see $log"
finish
