-- Pauses of one job or of all jobs, and what waits for their end.

-- pause {job}: pause that job; '*' pauses all jobs.
function calls.pause(a)
  redis.call('HSET', k('paused'), a.job, NOW_TEXT)
  return 1
end

-- resume {job} -> {how many waiting runs were handed out, 1 if more are left}. If more are left, call `release`; else the sweeper
-- hands them out.
function calls.resume(a)
  redis.call('HDEL', k('paused'), a.job)
  if a.job == '*' then
    redis.call('SUNIONSTORE', k('resuming'), k('resuming'), k('waiters'))
  else
    redis.call('SADD', k('resuming'), a.job)
  end
  return calls.release()
end

-- release {} -> as from `resume`. Continue what is left of all resumptions.
function calls.release()
  local went, more = go_on_releasing()
  return { went, more and 1 or 0 }
end

return respond()
