"""What every job begins with: data, devices, folders, networks, and what earlier runs stored."""
