-- pause {job}: pause that job; '*' pauses all jobs.
function calls.pause(a)
  redis.call('HSET', k('paused'), a.job, NOW_TEXT)
  return 1
end

-- resume {job} -> how many waiting runs were handed out.
function calls.resume(a)
  redis.call('HDEL', k('paused'), a.job)
  local jobs, went = { a.job }, 0
  if a.job == '*' then jobs = redis.call('SMEMBERS', k('waiters')) end
  for _, job in ipairs(jobs) do went = went + release(job) end
  return went
end

return respond()
