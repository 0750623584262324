"""Device names: `DeviceSpec` parses, prints and merges "/job:worker/task:1/device:GPU:0"."""


class DeviceSpec:
  """A device name in part or whole; a field that is None says nothing."""

  __slots__ = ("job", "replica", "task", "device_type", "device_index")

  def __init__(self, job=None, replica=None, task=None, device_type=None, device_index=None):
    self.job = job
    self.replica = None if replica is None else int(replica)
    self.task = None if task is None else int(task)
    self.device_type = device_type.upper() if isinstance(device_type, str) and device_type.lower() in ("cpu", "gpu") else device_type
    self.device_index = None if device_index is None else int(device_index)

  @classmethod
  def from_string(cls, spec):
    return cls().parse_from_string(spec)

  def parse_from_string(self, spec):
    """Reads a name into this object and returns it; ValueError names the part it cannot read."""
    self.job = self.replica = self.task = self.device_type = self.device_index = None
    for part in (spec or "").split("/"):
      if not part:
        continue
      fields = part.split(":")
      try:
        if fields[0] == "job" and len(fields) == 2:
          self.job = fields[1]
        elif fields[0] == "replica" and len(fields) == 2:
          self.replica = None if fields[1] == "*" else int(fields[1])
        elif fields[0] == "task" and len(fields) == 2:
          self.task = None if fields[1] == "*" else int(fields[1])
        elif fields[0] == "device" and len(fields) == 3:
          self.device_type = None if fields[1] == "*" else _type(fields[1])
          self.device_index = None if fields[2] == "*" else int(fields[2])
        elif fields[0] == "device" and len(fields) == 2:
          self.device_type = _type(fields[1])
        elif fields[0].lower() in ("cpu", "gpu") and len(fields) <= 2:
          self.device_type = fields[0].upper()
          if len(fields) == 2 and fields[1] != "*":
            self.device_index = int(fields[1])
        else:
          raise ValueError
      except ValueError:
        raise ValueError(f"Unknown attribute: '{part}' in the device name '{spec}'; wanted a form like "
                         "/job:worker/replica:0/task:1/device:GPU:0") from None
    return self

  def merge_from(self, other):
    """Takes every field that `other` sets."""
    for field in self.__slots__:
      value = getattr(other, field)
      if value is not None:
        setattr(self, field, value)

  def make_merged_spec(self, other):
    merged = DeviceSpec.from_string(self.to_string())
    merged.merge_from(other)
    return merged

  def replace(self, **fields):
    values = {f: getattr(self, f) for f in self.__slots__}
    values.update(fields)
    return DeviceSpec(**values)

  def to_string(self):
    text = ""
    if self.job is not None:
      text += f"/job:{self.job}"
    if self.replica is not None:
      text += f"/replica:{self.replica}"
    if self.task is not None:
      text += f"/task:{self.task}"
    if self.device_type is not None:
      text += f"/device:{self.device_type}:{'*' if self.device_index is None else self.device_index}"
    return text

  def __str__(self):
    return self.to_string()

  def __repr__(self):
    return f"DeviceSpec({self.to_string()!r})"

  def __eq__(self, other):
    return isinstance(other, DeviceSpec) and self.to_string() == other.to_string()

  def __hash__(self):
    return hash(self.to_string())


def _type(name):
  return name.upper() if name.lower() in ("cpu", "gpu") else name


def canonical_name(device):
  """The canonical text of a device name, "" for None."""
  if device is None:
    return ""
  return device.to_string() if isinstance(device, DeviceSpec) else DeviceSpec.from_string(device).to_string()


def merge_device(spec):
  """A device function: the device of a node, with the fields it leaves open filled from `spec`."""
  spec = spec if isinstance(spec, DeviceSpec) else DeviceSpec.from_string(spec or "")

  def fill(node_or_op):
    merged = DeviceSpec.from_string(spec.to_string())
    merged.merge_from(DeviceSpec.from_string(node_or_op.device or ""))
    return merged.to_string()

  fill._spec = spec
  return fill
