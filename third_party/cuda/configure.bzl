"""Finds the CUDA toolkit of this machine, if there is one, and makes @local_cuda of it."""

_BUILD = """
package(default_visibility = ["//visibility:public"])

cc_library(
    name = "headers",
    hdrs = glob(["include/**"], allow_empty = True),
    includes = ["include"],
)
"""

_LIBRARIES = ["cudart", "cublas", "cublasLt", "nvrtc"]

_LIBRARY = """
cc_library(
    name = "{name}",
    linkopts = {linkopts},
    deps = [":headers"],
)
"""

def _configure_impl(repository):
    home = None
    for folder in [repository.os.environ.get("CUDA_HOME", ""), "/usr/local/cuda", "/usr/lib/nvidia-cuda-toolkit"]:
        if folder and repository.path(folder + "/bin/nvcc").exists:
            home = folder
            break

    build = _BUILD
    lib = None
    if home:
        repository.symlink(home + "/include", "include")
        for folder in ["/lib64", "/targets/x86_64-linux/lib"]:
            if repository.path(home + folder).exists:
                lib = home + folder
                break
    for name in _LIBRARIES:
        linkopts = []
        if lib:
            linkopts = ["-L" + lib, "-Wl,-rpath," + lib, "-l" + name]
        build += _LIBRARY.format(name = name, linkopts = repr(linkopts))
    repository.file("BUILD", build)
    repository.file("cuda.bzl", "NVCC = %r\n" % ((home + "/bin/nvcc") if home else ""))

configure_cuda = repository_rule(
    implementation = _configure_impl,
    environ = ["CUDA_HOME"],
    local = True,
    doc = "NVCC in @local_cuda//:cuda.bzl is the compiler's path, or '' where there is no toolkit.",
)
