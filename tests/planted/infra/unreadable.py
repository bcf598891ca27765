def broken(:  # HR701
