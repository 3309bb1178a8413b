"""What runs the service on machines: manifests, and the simulation that their scaling values were chosen with."""
