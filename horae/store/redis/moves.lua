-- Move records: the provider that a job or all jobs have instead of the one in the code.

-- move {job, provider}: write the move record of that job, or with '*' of all jobs.
function calls.move(a)
  redis.call('HSET', k('moves'), a.job, a.provider)
  redis.call('HSET', k('moved_at'), a.job, NOW_TEXT)
  return 1
end

-- end_move {job, provider} -> 1, or 0 if the job has no such record. Its runs go again where the code says.
function calls.end_move(a)
  if redis.call('HGET', k('moves'), a.job) ~= a.provider then return 0 end
  redis.call('HDEL', k('moves'), a.job)
  redis.call('HDEL', k('moved_at'), a.job)
  return 1
end

-- follow {provider, start, limit} -> {the cursor of the next call, '0' at the end; how many runs moved}. Moves runs that wait in the outbox
-- of a provider to the one that they have by now. Those that are due later keep their time.
function calls.follow(a)
  local answer, went = redis.call('ZSCAN', k('outbox:' .. a.provider), a.start, 'COUNT', a.limit), 0
  for i = 1, #answer[2], 2 do
    local id = answer[2][i]
    guarded(id, function()
      local job, was, pinned = unpack(redis.call('HMGET', k('run:' .. id), 'job', 'provider', 'pinned'))
      local due, provider = redis.call('ZSCORE', k('outbox'), id), job and reroute(id, job, was, pinned)
      if not due or not provider or provider == a.provider then return end
      recall(id)
      into_outbox(id, provider, due)
      went = went + 1
    end)
  end
  finish()
  idle = went == 0
  return { answer[1], went }
end

return respond()
