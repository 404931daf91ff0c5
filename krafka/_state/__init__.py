"""Pure state: no await, no clock, no socket."""
