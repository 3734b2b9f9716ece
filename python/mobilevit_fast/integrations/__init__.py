"""The classifier inside other systems; each module needs the system that it is named after."""
