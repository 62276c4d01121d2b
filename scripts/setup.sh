# Sourced by the other scripts: makes .venv in the checkout on first use and whenever the pinned dependencies change.
# NCF_PYTHON chooses the interpreter (3.11 to 3.13); NCF_CPU=1 installs torch without CUDA (1 GB in place of 5).
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv="$root/.venv"

find_python() {
    local candidate
    for candidate in ${NCF_PYTHON:-python3.11 python3.12 python3.13 python3 python}; do
        if "$candidate" -c 'import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "error: no Python 3.11 to 3.13 found; install one, or set NCF_PYTHON to it" >&2
    return 1
}

setup() (
    set -e
    exec 9>"$root/.venv.lock"
    if command -v flock >/dev/null; then flock 9; fi  # two first uses at once: one installs, the other waits
    wanted=$(cat "$root/pyproject.toml" "$root/constraints.txt" | cksum)
    if [ "$(cat "$venv/.ready" 2>/dev/null)" = "$wanted" ]; then exit 0; fi
    python=$(find_python)
    echo "setting up $venv (once; a few minutes)" >&2
    cpu=()
    if [ -n "${NCF_CPU:-}" ]; then
        index=${NCF_CPU_INDEX:-https://download.pytorch.org/whl/cpu}
        if ! "$python" -c "import sys, urllib.request as r; r.urlopen(sys.argv[1].rstrip('/') + '/torch/', timeout=20)" "$index" 2>/dev/null; then
            echo "error: NCF_CPU=1: $index cannot be reached; set NCF_CPU_INDEX to a mirror of it, or leave NCF_CPU out for torch with CUDA (5 GB)" >&2
            exit 1
        fi
        cpu=(--extra-index-url "$index")
    fi
    if [ ! -x "$venv/bin/python" ]; then "$python" -m venv "$venv"; fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check ${cpu[@]+"${cpu[@]}"} -c "$root/constraints.txt" \
        --config-settings editable_mode=compat -e "$root${NCF_EXTRAS-[test]}" >&2  # compat: a path, which a folder named ncf in the working folder does not hide
    echo "$wanted" >"$venv/.ready"
)
