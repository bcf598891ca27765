-- What becomes of a granted run: its holder renews the lease, reports and settles, or the lease expires.

-- renew {claims = [[id, token]], lease} -> for each why its run must stop (a value of `Stop`), or ''.
function calls.renew(a)
  local stops = {}
  for i, c in ipairs(a.claims) do
    local state, token, cancel = unpack(redis.call('HMGET', k('run:' .. c[1]), 'state', 'token', 'cancel'))
    if state ~= 'running' or tonumber(token) ~= c[2] then
      stops[i] = 'lease lost'
    else
      redis.call('ZADD', k('leases'), int(NOW + a.lease), c[1])
      stops[i] = cancel or ''
    end
  end
  return stops
end

-- A run killed its process. Hand it out again, to run alone in a child process; fail it the DEATHS-th time.
local function died(s)
  local key = k('run:' .. s.id)
  local deaths = redis.call('HINCRBY', key, 'deaths', 1)
  if deaths >= DEATHS then return settle_run(s.id, 'failed', REASON.killed_its_process, int(deaths)) end
  redis.call('HSET', key, 'suspect', 1)
  hand_out_again(s.id, 'retrying', s.retry_after or 0, 'killed its process', worded(s.reason, s.note))
end

-- again {id, token, reason, note, failed?, failure?} -> 1, or 0 where the claim is stale. Its holder begins another attempt itself.
function calls.again(a)
  local key = k('run:' .. a.id)
  local state, token = unpack(redis.call('HMGET', key, 'state', 'token'))
  if state ~= 'running' or tonumber(token) ~= a.token then return 0 end
  if a.failure then redis.call('HSET', key, 'failure', a.failure) end
  if a.failed then redis.call('HINCRBY', key, 'failures', 1) end
  redis.call('HINCRBY', key, 'attempts', 1)
  redis.call('HSET', key, 'started_at', NOW_TEXT)
  redis.call('HDEL', key, 'progress')
  tell(a.id, 'retrying', worded(a.reason, a.note))
  return 1
end

-- settle {settlements = [{id, token, verdict?, reason, note, retry_after?, died?, failure?, result?}]} -> 1, or 0 where the claim is stale.
function calls.settle(a)
  local done = {}
  spare = spare + #a.settlements   -- each may make room for one run
  for i, s in ipairs(a.settlements) do
    local key = k('run:' .. s.id)
    local row = before_settling(s.id)
    done[i] = (row[3] == 'running' and tonumber(row[10]) == s.token) and 1 or 0
    if done[i] == 1 then
      if s.failure then redis.call('HSET', key, 'failure', s.failure) end
      if s.verdict then
        settle_run(s.id, s.verdict, s.reason, s.note, s.result and { 'result', s.result }, row)
      elseif s.died then
        died(s)
      elseif s.retry_after then
        redis.call('HINCRBY', key, 'failures', 1)
        hand_out_again(s.id, 'retrying', s.retry_after, 'retrying', worded(s.reason, s.note))
      else
        hand_out_again(s.id, 'pending', 0, 'handed back', worded(s.reason, s.note))
      end
    end
  end
  finish()
  return done
end

-- sweep {limit} -> JSON: [{id, job, verdict?, worker}]. Settle runs whose lease expired. An internal run fails. A durable run is handed
-- out again as a suspect, and fails after LAPSES lost leases. Continue resumptions whose
-- caller died. With a limit of 0, only check that the server accepts writes.
function calls.sweep(a)
  local found = {}
  if a.limit == 0 then
    redis.call('SET', k('probe'), NOW_TEXT, 'PX', 1)
    return '[]'
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', k('leases'), '-inf', NOW_TEXT, 'LIMIT', 0, a.limit)) do
    guarded(id, function()
      local key = k('run:' .. id)
      local job, tier, worker = unpack(redis.call('HMGET', key, 'job', 'tier', 'worker'))
      local verdict
      if not job then
        redis.call('ZREM', k('leases'), id)
      elseif tier ~= 'oneiric' or redis.call('HINCRBY', key, 'lapses', 1) >= LAPSES then
        verdict = 'failed'
        settle_run(id, verdict, REASON.worker_died)
      else
        redis.call('HSET', key, 'suspect', 1)
        verdict = hand_out_again(id, 'pending', 0, 'lease ran out', worker)
      end
      if job then found[#found + 1] = { id = id, job = job, verdict = verdict, worker = worker or '' } end
    end)
  end
  local released = go_on_releasing()
  finish()
  idle = #found == 0 and released == 0
  return #found == 0 and '[]' or cjson.encode(found)
end

-- report {id, token, text}: write the progress of the run. Does nothing if the claim is stale.
function calls.report(a)
  local key = k('run:' .. a.id)
  local state, token = unpack(redis.call('HMGET', key, 'state', 'token'))
  if state == 'running' and tonumber(token) == a.token then redis.call('HSET', key, 'progress', a.text) end
  return 1
end

-- cancel {id} -> cancelled, asked, settled or unknown.
function calls.cancel(a)
  local state = redis.call('HGET', k('run:' .. a.id), 'state')
  if not state then return 'unknown' end
  if state == 'running' then
    redis.call('HSET', k('run:' .. a.id), 'cancel', REASON.requested)
    return 'asked'
  end
  if not OPEN[state] then return 'settled' end
  settle_run(a.id, 'cancelled', REASON.requested)
  finish()
  return 'cancelled'
end

return respond()
