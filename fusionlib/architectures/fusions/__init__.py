"""Ways in which the learners inside one network answer as one: one file each."""
