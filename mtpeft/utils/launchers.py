"""Names of the programs that start several processes, without importing torch."""

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
