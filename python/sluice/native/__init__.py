"""What the build made: `_sluice`, the C boundary; `libsluice.so`, the runtime; the descriptors of the messages."""
