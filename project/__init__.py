"""What every package rests on: the error that a user can mend, whole files, the version."""
