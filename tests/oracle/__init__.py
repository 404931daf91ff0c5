"""What the compiled and the stateful parts are held to: slow, obvious Python."""
