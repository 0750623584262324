"""Scaffold: the parts of a graph that a session needs to start."""
import sluice as sl
from sluice.train._saver import Saver

_PARTS = ("init_op", "init_feed_dict", "init_fn", "ready_op", "ready_for_local_init_op", "local_init_op", "summary_op",
          "saver", "local_init_feed_dict")


class Scaffold:
    """The operations that initialise a model, say whether it is ready, save it and summarise it.

    What is not given is taken from the graph's collections, or made, by `finalize`, which a monitored session calls.

    Args:
      init_op, init_feed_dict: run when there is no checkpoint; by default the initialiser of all global variables.
      init_fn: init_fn(scaffold, session), called after init_op.
      ready_op: gives the names of what is not initialised; nothing means ready.
      ready_for_local_init_op: the same for what local_init_op needs.
      local_init_op, local_init_feed_dict: run in every session; by default local variables and tables.
      summary_op: by default all summaries, merged.
      saver: by default a sharded Saver of all variables.
      copy_from_scaffold: a Scaffold to take what is not given from.
    """

    def __init__(self, init_op=None, init_feed_dict=None, init_fn=None, ready_op=None, ready_for_local_init_op=None,
                 local_init_op=None, summary_op=None, saver=None, copy_from_scaffold=None,
                 local_init_feed_dict=None):
        if copy_from_scaffold is not None and not isinstance(copy_from_scaffold, Scaffold):
            raise TypeError("copy_from_scaffold is not a Scaffold instance.")
        given = locals()
        self._user_init_fn = init_fn
        for part in _PARTS:
            value = given[part]
            if part == "init_fn" and value is not None:
                value = lambda session: init_fn(self, session)
            if value is None and copy_from_scaffold is not None:
                value = getattr(copy_from_scaffold, part)
            setattr(self, part, value)

    def finalize(self):
        """Adds what was not given, and makes the graph final."""
        keys = sl.GraphKeys
        get = Scaffold.get_or_default
        if self.init_op is None:
            self.init_op = get("init_op", keys.INIT_OP, lambda: sl.group(
                sl.global_variables_initializer(), *sl.get_collection("resources_initializer"), name="init"))
        if self.ready_op is None:
            self.ready_op = get("ready_op", keys.READY_OP, sl.report_uninitialized_variables)
        if self.ready_for_local_init_op is None:
            self.ready_for_local_init_op = get(
                "ready_for_local_init_op", keys.READY_FOR_LOCAL_INIT_OP,
                lambda: sl.report_uninitialized_variables(sl.global_variables(),
                                                          name="report_uninitialized_global_variables"))
        if self.local_init_op is None:
            self.local_init_op = get("local_init_op", keys.LOCAL_INIT_OP, Scaffold.default_local_init_op)
        if self.summary_op is None:
            self.summary_op = get("summary_op", keys.SUMMARY_OP, sl.summary.merge_all)
        if self.saver is None:
            self.saver = get("saver", keys.SAVERS, lambda: Saver(sharded=True, allow_empty=True))
        self.saver.build()
        sl.get_default_graph().finalize()
        return self

    @staticmethod
    def get_or_default(arg_name, collection_key, default_constructor):
        """The one item of a collection, or a new one, which is put there."""
        found = sl.get_collection(collection_key)
        if len(found) > 1:
            raise RuntimeError('More than one item in the collection "%s". Please indicate which one to use by passing '
                               "it to the Scaffold constructor as: Scaffold(%s=item to use)" % (collection_key, arg_name))
        if found:
            return found[0]
        made = default_constructor()
        if made is not None:
            sl.add_to_collection(collection_key, made)
        return made

    @staticmethod
    def default_local_init_op():
        """Initialises local variables, tables and the resources of this session alone."""
        return sl.group(sl.local_variables_initializer(), sl.tables_initializer(),
                        *sl.get_collection("local_resources_initializer"), name="local_init")
