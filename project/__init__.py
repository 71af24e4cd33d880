"""What every package rests on: errors that a user can mend, whole files, leases, the version."""
