"""`make chaos`: nights on a loopback cluster whose processes are killed and whose disks fill up. Not installed."""
