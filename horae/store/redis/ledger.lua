-- Whether a run without a row is at most as new as a dropped run of its job. It may have been dropped too, so writing it would count
-- it twice.
local function forgotten(r)
  local floor, when = redis.call('HGET', k('floor'), r.job), r.scheduled_for or r.ended_at
  return floor and when and tonumber(when) <= tonumber(floor)
end

-- record {runs = [{id, job, …, state, started_at?, ended_at?, fields}], keep?}: write whole rows of runs of another scheduler. A settled
-- run is never changed. `keep`: how many runs of the job the ledger keeps.
function calls.record(a)
  for _, r in ipairs(a.runs) do
    local key = k('run:' .. r.id)
    local state, began = unpack(redis.call('HMGET', key, 'state', 'started_at'))
    if not state then
      if forgotten(r) then state = 'forgotten' else put_run(r) end
    end
    if not state or state == 'pending' or state == 'queued' or state == 'running' or state == 'retrying' then
      local late = r.scheduled_for and r.started_at and r.started_at - r.scheduled_for or 0
      if late > LATE and not began then
        notice('late', r.id, r.job, r.scheduled_for, '', int(math.floor(late / 1000)) .. ' s late')
      end
      if #r.fields > 0 then redis.call('HSET', key, unpack(r.fields)) end
      if r.verdict then
        settle_run(r.id, r.verdict, r.reason, r.note)
        -- The other scheduler knows when the run ended; settle_run has written the instant of this call.
        if r.ended_at then redis.call('HSET', key, 'ended_at', r.ended_at) end
      else
        redis.call('HSET', key, 'state', r.state)
      end
    end
    if a.keep then
      for _, old in ipairs(redis.call('ZRANGE', k('ledger:' .. r.job), 0, -a.keep - 1)) do drop_run(old, r.job, 0) end
    end
  end
  finish()
  return 1
end

-- Return at most `limit` entries of an index, with their scores, that are older than the retention and whose row has expired. Entries
-- that still have a row, such as dead letters, are passed over.
local function outlived(index, limit)
  local found = {}
  for start = 0, 99 * limit, limit do
    local page = redis.call('ZRANGEBYSCORE', index, '-inf', int(NOW - KEEP), 'WITHSCORES', 'LIMIT', start, limit)
    for i = 1, #page, 2 do
      if redis.call('EXISTS', k('run:' .. page[i])) == 0 then found[#found + 1] = { page[i], page[i + 1] } end
      if #found == limit then return found end
    end
    if #page < 2 * limit then break end
  end
  return found
end

-- prune {limit, keep_dead} -> how many were dropped. Drops index entries whose row has expired, the oldest settled runs of a job beyond
-- KEEP_EACH, and the oldest dead letters beyond `keep_dead`.
function calls.prune(a)
  local gone = 0
  for _, job in ipairs(redis.call('HKEYS', k('last'))) do
    -- Expired rows are dropped here; runs beyond the maximum number are dropped by trim.
    for _, one in ipairs(outlived(k('ledger:' .. job), a.limit)) do
      drop_run(one[1], job, one[2])
      gone = gone + 1
    end
    gone = gone + trim(job, KEEP_EACH, a.limit)
  end
  -- Entries that are not in the index of a job: invalid messages and dead letters.
  for _, one in ipairs(outlived(k('ledger'), a.limit)) do gone = gone + redis.call('ZREM', k('ledger'), one[1]) end
  local over = math.min(redis.call('ZCARD', k('dead')) - a.keep_dead, a.limit)
  if over > 0 then
    for _, id in ipairs(redis.call('ZRANGE', k('dead'), 0, over - 1)) do
      redis.call('ZREM', k('dead'), id)
      redis.call('PEXPIRE', k('run:' .. id), KEEP)
      gone = gone + 1
    end
  end
  return gone
end

-- append_log {id, lines, keep}: keep the newest `keep` lines, for the retention of settled runs.
function calls.append_log(a)
  local key = k('log:' .. a.id)
  redis.call('RPUSH', key, unpack(a.lines))
  redis.call('LTRIM', key, -a.keep, -1)
  redis.call('PEXPIRE', key, KEEP)
  return 1
end

-- figures {} -> JSON: {counts and noticed (flat, by job|word), overdue: milliseconds since the first outbox entry was due, outbox:
-- entries, waiting: runs that wait for another run of their job or for the end of a pause, running: runs with a lease, dead: letters}.
function calls.figures()
  local waiting = 0
  for _, job in ipairs(redis.call('SMEMBERS', k('waiters'))) do
    waiting = waiting + redis.call('ZCARD', k('waiting:' .. job))
  end
  return cjson.encode({
    counts = redis.call('HGETALL', k('counts')), noticed = redis.call('HGETALL', k('noticed')),
    overdue = since_first(k('outbox')), outbox = redis.call('ZCARD', k('outbox')), waiting = waiting,
    running = redis.call('ZCARD', k('leases')), dead = redis.call('ZCARD', k('dead')),
  })
end

return respond()
