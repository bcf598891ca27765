"""Not a job."""  # HR703
