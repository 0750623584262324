"""Libraries whose sources are compiled as one file."""

def cc_library_together(name, srcs, **kwargs):
    """A cc_library for sources of which each needs less time than the headers that all of them include.

    Names in unnamed namespaces are then those of all sources, so what two of them need stands in a header.

    Args:
      name: the library's name.
      srcs: sources, and headers that nothing else includes, of this package.
      **kwargs: as for cc_library.
    """
    sources = [src for src in srcs if src.endswith(".cc")]
    together = name + "_together.cc"
    native.genrule(
        name = name + "_joined",
        srcs = sources,
        outs = [together],
        cmd = "for source in $(SRCS); do printf '#line 1 \"%s\"\\n' $$source; cat $$source; done > $@",
        visibility = ["//visibility:private"],
    )
    native.cc_library(
        name = name,
        srcs = [together] + [src for src in srcs if src.endswith(".h")],
        **kwargs
    )
