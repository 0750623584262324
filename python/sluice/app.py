"""Starting a program: parse the flags, then call main(argv)."""
import sys

from sluice import flags


def run(main=None, argv=None):
    """Reads the flags from `argv` (sys.argv), calls main with what is left, and exits with what it returns."""
    main = main or sys.modules["__main__"].main
    argv = sys.argv if argv is None else argv
    if any(a in ("--help", "-h", "--helpfull", "--helpshort") for a in argv[1:]):
        doc = sys.modules["__main__"].__doc__
        print((doc.strip() + "\n\n" if doc else "") + "Flags:\n" + flags.FLAGS.get_help())
        sys.exit(0)
    try:
        left = flags.FLAGS(argv)
    except flags.Error as e:
        print("FATAL Flags parsing error: %s" % e, file=sys.stderr)
        sys.exit(1)
    sys.exit(main(left))
