"""Training: optimisers, learning-rate schedules, the global step, moving averages, checkpoints."""
import importlib

_HOMES = {
    "_optimizer": "Optimizer",
    "_optimizers": "GradientDescentOptimizer MomentumOptimizer AdagradOptimizer AdadeltaOptimizer RMSPropOptimizer "
                   "AdamOptimizer FtrlOptimizer",
    "_proximal": "ProximalGradientDescentOptimizer ProximalAdagradOptimizer AdagradDAOptimizer",
    "_schedules": "exponential_decay natural_exp_decay inverse_time_decay piecewise_constant "
                  "piecewise_constant_decay polynomial_decay cosine_decay cosine_decay_restarts "
                  "linear_cosine_decay noisy_linear_cosine_decay",
    "_global_step": "get_global_step create_global_step get_or_create_global_step assert_global_step global_step",
    "_moving_average": "ExponentialMovingAverage",
    "_saver": "Saver",
    "_meta_graph": "export_meta_graph import_meta_graph",
    "_checkpoints": "latest_checkpoint checkpoint_exists get_checkpoint_state update_checkpoint_state "
                    "generate_checkpoint_state_proto get_checkpoint_mtimes remove_checkpoint "
                    "checkpoints_iterator",
    "_cluster_spec": "ClusterSpec",
    "_server": "Server",
    "_device_setter": "replica_device_setter RoundRobinStrategy RandomStrategy GreedyLoadBalancingStrategy "
                      "byte_size_load_fn",
    "_coordinator": "Coordinator",
    "_queue_runner": "QueueRunner add_queue_runner start_queue_runners",
    "_input": "batch batch_join input_producer limit_epochs match_filenames_once maybe_batch maybe_batch_join "
              "maybe_shuffle_batch maybe_shuffle_batch_join range_input_producer shuffle_batch shuffle_batch_join "
              "slice_input_producer string_input_producer",
    "_sync_replicas": "SyncReplicasOptimizer",
    "_all_reduce": "AllReduceOptimizer BroadcastVariablesHook",
    "_stale_synchronous": "StaleSynchronousOptimizer",
    "session_run_hook": "SessionRunArgs SessionRunContext SessionRunValues SessionRunHook",
    "_hooks": "SecondOrStepTimer LoggingTensorHook StopAtStepHook NanLossDuringTrainingError NanTensorHook "
              "CheckpointSaverListener CheckpointSaverHook SummarySaverHook StepCounterHook GlobalStepWaiterHook FinalOpsHook "
              "FeedFnHook ProfilerHook",
    "_scaffold": "Scaffold",
    "_session_manager": "SessionManager",
    "_session_creator": "SessionCreator ChiefSessionCreator WorkerSessionCreator",
    "_monitored_session": "MonitoredSession SingularMonitoredSession MonitoredTrainingSession",
    "_looper_thread": "LooperThread",
    "_supervisor": "Supervisor basic_train_loop",
    "_reader": "NewCheckpointReader load_checkpoint list_variables load_variable",
}
_WHERE = {name: home for home, names in _HOMES.items() for name in names.split()}
_WHERE["summary_iterator"] = "_events"
_WHERE["write_graph"] = "_graph_io"
_WHERE["init_from_checkpoint"] = "_warm_start"
_PROTOS = {"Example": "example_pb2", "SequenceExample": "example_pb2", "Features": "feature_pb2",
           "Feature": "feature_pb2", "FeatureList": "feature_pb2", "FeatureLists": "feature_pb2",
           "BytesList": "feature_pb2", "FloatList": "feature_pb2", "Int64List": "feature_pb2",
           "QueueRunnerDef": "queue_runner_pb2", "SaverDef": "saver_pb2", "ClusterDef": "cluster_pb2", "JobDef": "cluster_pb2",
           "ServerDef": "tensorflow_server_pb2"}

__all__ = sorted(list(_WHERE) + list(_PROTOS))


def __getattr__(name):
    if name in _WHERE:
        value = getattr(importlib.import_module("sluice.train." + _WHERE[name]), name)
    elif name in _PROTOS:
        value = getattr(getattr(importlib.import_module("sluice.protos"), _PROTOS[name]), name)
    else:
        raise AttributeError("module 'sluice.train' has no attribute %r" % name)
    globals()[name] = value
    return value


def __dir__():
    return __all__
