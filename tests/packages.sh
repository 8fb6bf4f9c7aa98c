# shellcheck shell=bash disable=SC2034  # the lists are used by those who source this
# Sourced by tests/run and perf/run: finds what this machine lacks and installs it.

# What to look for (a command, or a header in <>), and its package for:
#                        Debian, Ubuntu    Fedora                  Homebrew          vcpkg
build_packages='
cmake                    cmake             cmake                   cmake             -
ninja                    ninja-build       ninja-build             ninja             -
c++                      g++               gcc-c++                 gcc               -
<xsimd/xsimd.hpp>        libxsimd-dev      xsimd-devel             xsimd             xsimd
<oneapi/dnnl/dnnl.hpp>   libdnnl-dev       onednn-devel            onednn            onednn
<benchmark/benchmark.h>  libbenchmark-dev  google-benchmark-devel  google-benchmark  benchmark
<doctest/doctest.h>      doctest-dev       doctest-devel           doctest           doctest'
test_packages="$build_packages
pkg-config               pkg-config        pkgconf-pkg-config      pkgconf           -"
check_packages='
clang-format             clang-format      clang-tools-extra       clang-format      -
clang-tidy               clang-tidy        clang-tools-extra       llvm              -'
plot_packages='
gnuplot                  gnuplot-nox       gnuplot                 gnuplot           -'
# Of interest on Debian only.
emulation_packages='
qemu-aarch64             qemu-user              -  -  -
aarch64-linux-gnu-g++    g++-aarch64-linux-gnu  -  -  -'

has() {
  case $1 in
    '<'*)
      local brew_include=()
      if command -v brew >/dev/null; then brew_include=("-I$(brew --prefix)/include"); fi
      printf '#if !__has_include(%s)\n#error missing\n#endif\n' "$1" |
        ${CXX:-c++} -fsyntax-only ${brew_include[@]+"${brew_include[@]}"} -x c++ - 2>/dev/null
      ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

# Prints the rows of $1 whose first word is not on this machine.
missing_rows() {
  local row
  while read -r row; do
    if [ -n "$row" ] && ! has "${row%% *}"; then echo "$row"; fi
  done <<<"$1"
}

# One column of the rows, each package once, on one line.
column() { awk -v i="$2" 'NF && $i != "-" && !seen[$i]++ {printf "%s%s", sep, $i; sep = " "}' <<<"$1"; }

# Sees to it that everything in the rows of $1 is there. Costs no package manager's time if it is.
need() {
  local missing manager packages as_root=()
  missing=$(missing_rows "$1")
  if [ -z "$missing" ]; then return; fi
  if ! command -v apt-get >/dev/null; then
    echo "Not found here: $(column "$missing" 1)"
    for manager in 'dnf 3' 'brew 4' 'vcpkg 5'; do
      packages=$(column "$missing" "${manager#* }")
      if [ -n "$packages" ]; then echo "  ${manager% *} install $packages"; fi
    done
    echo "Going on, as CMake may know other places to look."
    return
  fi
  packages=$(column "$missing" 2)
  if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "Missing packages, and no sudo to install them. As root: apt-get install $packages" >&2
      return 1
    fi
    as_root=(sudo)
  fi
  as_root+=(env DEBIAN_FRONTEND=noninteractive)
  echo "Missing packages: $packages"
  echo "Installing them: apt-get update, then apt-get install --no-install-recommends"
  # An unreachable third-party source need not matter.
  "${as_root[@]}" apt-get -q update || echo "apt-get update failed; trying all the same"
  # shellcheck disable=SC2086  # a list of words
  "${as_root[@]}" apt-get -q -y install --no-install-recommends $packages
  missing=$(missing_rows "$1")
  if [ -n "$missing" ]; then
    echo "Still not found: $(column "$missing" 1)" >&2
    return 1
  fi
}
