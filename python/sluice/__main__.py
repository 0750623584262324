"""python3 -m sluice COMMAND: the commands of the package."""
import importlib
import sys

# {command: (module with main(arguments) -> exit code, what it does)}
_COMMANDS = {
    "profile": ("sluice.profiling.command", "run a program and say where its steps spend their time"),
    "bisect": ("sluice.bisecting.command", "find the compiler's pass that changes what a program computes"),
    "launch": ("sluice.distribute.launcher", "start the tasks of a cluster as processes of this machine"),
    "top": ("sluice.distribute.top", "show what the tasks of a cluster do, live"),
}


def main(arguments):
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print("usage: python3 -m sluice COMMAND [ARGUMENTS]        (COMMAND --help explains one command)\n")
        for command, (_, text) in _COMMANDS.items():
            print("  %-8s %s" % (command, text))
        return 0
    if arguments[0] not in _COMMANDS:
        print("sluice: there is no command '%s' (%s)" % (arguments[0], ", ".join(_COMMANDS)), file=sys.stderr)
        return 2
    return importlib.import_module(_COMMANDS[arguments[0]][0]).main(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
