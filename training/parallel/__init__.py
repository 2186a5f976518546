"""A model on several ranks: whole on each of them (DDP), or a share of it on each (FSDP2)."""
