local OPEN = { pending = true, queued = true, retrying = true }

local function grant(id, job, worker, lease)
  local key = k('run:' .. id)
  local token = redis.call('INCR', k('token'))
  local attempts = redis.call('HINCRBY', key, 'attempts', 1)
  local attempt, failures = unpack(redis.call('HMGET', key, 'attempt', 'failures'))
  redis.call('HSET', key, 'state', 'running', 'started_at', int(NOW), 'worker', worker, 'token', token, 'progress', '')
  redis.call('HDEL', key, 'cancel', 'unknown_since')
  tell(id, 'claimed', attempt, worker)
  redis.call('ZADD', k('leases'), int(NOW + lease), id)
  redis.call('ZADD', k('active:' .. job), int(NOW), id)
  redis.call('ZREM', k('outbox'), id)
  redis.call('ZREM', k('waiting:' .. job), id)
  return { 'run', token, attempts, tonumber(failures), '' }
end

-- A worker that does not know the job gives the run back for another, for a while.
local function disown(w, worker)
  local key = k('run:' .. w.id)
  local since = redis.call('HGET', key, 'unknown_since')
  if since and NOW - tonumber(since) >= UNKNOWN then
    settle_run(w.id, 'failed', 'unknown job')
    return { 'settled', 0, 0, 0, 'failed: unknown job' }
  end
  if not since then redis.call('HSET', key, 'unknown_since', int(NOW)) end
  hand_out_again(w.id, 'pending', UNKNOWN_WAIT, 'handed back', worker .. ' does not know the job')
  return { 'later', 0, 0, 0, 'unknown job' }
end

-- Fires that wait give way to a newer one.
local function supersede(w)
  for _, other in ipairs(redis.call('ZRANGE', k('waiting:' .. w.job), 0, -1)) do
    local cause, scheduled = unpack(redis.call('HMGET', k('run:' .. other), 'cause', 'scheduled_for'))
    if other ~= w.id and cause == 'schedule' and tonumber(scheduled) < tonumber(w.scheduled_for) then
      settle_run(other, 'missed', 'superseded')
    end
  end
end

-- Ask running ones to stop, through the renewal of their lease; one that waits for a retry is settled here. False if none runs.
local function cancel_others(others)
  local runs = false
  for _, other in ipairs(others) do
    if redis.call('HGET', k('run:' .. other), 'state') == 'running' then
      redis.call('HSET', k('run:' .. other), 'cancel', 'overlap')
      runs = true
    else
      settle_run(other, 'cancelled', 'overlap')
    end
  end
  return runs
end

-- Another run of the job is active; nil if this one may go on all the same. `skip` is for fires: what somebody asked for by name waits instead.
local function overlap(w, cause, others)
  if w.overlap == 'skip' and cause == 'schedule' then
    settle_run(w.id, 'skipped', 'overlap')
    return { 'settled', 0, 0, 0, 'skipped: overlap' }
  end
  if w.overlap == 'cancel_other' and not cancel_others(others) then return nil end
  if cause == 'schedule' and w.catch_up == 'latest' then supersede(w) end
  redis.call('ZREM', k('outbox'), w.id)
  redis.call('ZADD', k('waiting:' .. w.job), int(NOW), w.id)
  redis.call('HSET', k('run:' .. w.id), 'state', 'pending')
  tell(w.id, 'waits', w.attempt, 'another run of the job is active')
  return { 'later', 0, 0, 0, 'overlap' }
end

local function claim_one(w, worker, lease)
  local row = redis.call('HMGET', k('run:' .. w.id), 'state', 'attempt', 'job', 'cause')
  if not row[1] then
    -- Published straight to the broker: it is accepted now.
    w.cause = 'enqueue'
    put_run(w)
    row = { 'pending', w.attempt, w.job, 'enqueue' }
    if w.attempt ~= 1 then redis.call('HSET', k('run:' .. w.id), 'attempt', w.attempt) end
  end
  if not OPEN[row[1]] or tonumber(row[2]) ~= w.attempt or row[3] ~= w.job then
    return { 'duplicate', 0, 0, 0, row[1] }
  end
  if not w.known then return disown(w, worker) end
  if w.overlap ~= 'allow' then
    local others = {}
    for _, id in ipairs(redis.call('ZRANGE', k('active:' .. w.job), 0, -1)) do
      if id ~= w.id then others[#others + 1] = id end
    end
    if #others > 0 then
      local answer = overlap(w, row[4], others)
      if answer then return answer end
    end
  end
  return grant(w.id, w.job, worker, lease)
end

-- claim {wanted, worker, lease} -> for each {answer, token, attempts, failures, reason}.
-- Only one claim is granted for each handing-out of a run; a run without a row is accepted first.
function calls.claim(a)
  local answers = {}
  for i, w in ipairs(a.wanted) do answers[i] = claim_one(w, a.worker, a.lease) end
  return answers
end

-- begin {run, overlap, worker, lease} -> an answer as claim gives it. Accept and claim in one step, past every broker:
-- for what runs where it is asked for. `duplicate` if the run is known, whoever has it.
function calls.begin(a)
  if not put_run(a.run) then return { 'duplicate', 0, 0, 0, '' } end
  a.run.attempt, a.run.known, a.run.overlap, a.run.catch_up = 1, true, a.overlap, 'all'
  return claim_one(a.run, a.worker, a.lease)
end

-- renew {claims = [{id, token}], lease} -> for each kept, lost or cancel.
function calls.renew(a)
  local holds = {}
  for i, c in ipairs(a.claims) do
    local state, token, cancel = unpack(redis.call('HMGET', k('run:' .. c.id), 'state', 'token', 'cancel'))
    if state ~= 'running' or tonumber(token) ~= c.token then
      holds[i] = 'lost'
    else
      redis.call('ZADD', k('leases'), int(NOW + a.lease), c.id)
      holds[i] = cancel and 'cancel' or 'kept'
    end
  end
  return holds
end

-- settle {settlements = [{id, token, verdict?, reason, retry_after?, counts?, failure?, result?}]} -> 1, or 0 where the claim is stale.
function calls.settle(a)
  local done = {}
  for i, s in ipairs(a.settlements) do
    local key = k('run:' .. s.id)
    local state, token = unpack(redis.call('HMGET', key, 'state', 'token'))
    done[i] = (state == 'running' and tonumber(token) == s.token) and 1 or 0
    if done[i] == 1 then
      if s.failure then redis.call('HSET', key, 'failure', s.failure) end
      if s.verdict then
        settle_run(s.id, s.verdict, s.reason, s.result and { 'result', s.result })
      elseif s.retry_after then
        redis.call('HINCRBY', key, 'failures', 1)
        hand_out_again(s.id, 'retrying', s.retry_after, 'retrying', s.reason)
      else
        hand_out_again(s.id, 'pending', 0, 'handed back', s.reason)
      end
    end
  end
  return done
end

-- sweep {limit} -> flat list of id, job, verdict or '', worker. What runs in a sidecar may be lost with it; what is
-- durable is handed out again, until it has outlived too many workers.
function calls.sweep(a)
  local found = {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', k('leases'), '-inf', int(NOW), 'LIMIT', 0, a.limit)) do
    local key = k('run:' .. id)
    local job, tier, worker = unpack(redis.call('HMGET', key, 'job', 'tier', 'worker'))
    local verdict = ''
    if not job then
      redis.call('ZREM', k('leases'), id)
    elseif tier ~= 'oneiric' or redis.call('HINCRBY', key, 'deaths', 1) >= DEATHS then
      verdict = 'failed'
      settle_run(id, verdict, 'worker died')
    else
      hand_out_again(id, 'pending', 0, 'lease ran out', worker)
    end
    if job then for _, v in ipairs({ id, job, verdict, worker }) do found[#found + 1] = v end end
  end
  return found
end

-- report {id, token, text}: how far the run is; nothing if the claim is stale.
function calls.report(a)
  local key = k('run:' .. a.id)
  if redis.call('HGET', key, 'token') == int(a.token) then redis.call('HSET', key, 'progress', a.text) end
  return 1
end

return calls[ARGV[1]](cjson.decode(ARGV[2]))
