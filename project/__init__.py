"""What every package rests on: the error that a user can mend, complete files, the version."""
