"""What pretext tasks share, as plugins never import one another: holes, patches, marks, two views, restoring."""
