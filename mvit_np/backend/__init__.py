"""Where arrays live and how fast they are worked on; and what everything else stands on."""
