-- Shared by every script of the store. One key is passed, the namespace's prefix with its hash tag, so that all keys
-- live in one slot. ARGV: the function, its arguments as JSON, and how long settled runs are kept, in milliseconds.
local P = KEYS[1]
local time = redis.call('TIME')
local NOW = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local KEEP = tonumber(ARGV[3])
local DEATHS = 3            -- leases that may run out before a run is failed instead of handed out again
local UNKNOWN = 600000      -- how long workers may not know a job before its run is failed: a rolling deploy
local UNKNOWN_WAIT = 5000   -- how long a run rests between workers that do not know its job
local calls = {}

local function k(name) return P .. name end
local function int(n) return string.format('%.0f', n) end

-- A line of a run's story.
local function line(what, attempt, note)
  return int(NOW) .. '|' .. what .. '|' .. attempt .. '|' .. string.gsub(note or '', '[\r\n]', ' ') .. '\n'
end

local function tell(id, what, attempt, note)
  local key = k('run:' .. id)
  redis.call('HSET', key, 'story', (redis.call('HGET', key, 'story') or '') .. line(what, attempt, note))
end

-- Write a row, in state pending. False if the run is known already.
local function put_run(r)
  local key = k('run:' .. r.id)
  if redis.call('EXISTS', key) == 1 then return false end
  redis.call('HSET', key, 'job', r.job, 'tier', r.tier, 'cause', r.cause, 'state', 'pending',
    'scheduled_for', r.scheduled_for or '', 'attempt', 1, 'attempts', 0, 'failures', 0, 'deaths', 0,
    'accepted_at', int(NOW), 'provider', r.provider or '', 'lane', r.lane or 'normal',
    'context', r.context or '{}', 'metadata', r.metadata or '{}', 'story', line('accepted', 1, r.cause))
  local when = (r.scheduled_for or '') ~= '' and r.scheduled_for or int(NOW)
  redis.call('ZADD', k('ledger'), when, r.id)
  redis.call('ZADD', k('ledger:' .. r.job), when, r.id)
  return true
end

-- A job has no active run any more: the one that waits longest may go.
local function release(job)
  if redis.call('ZCARD', k('active:' .. job)) > 0 then return end
  local first = redis.call('ZPOPMIN', k('waiting:' .. job))[1]
  if first then redis.call('ZADD', k('outbox'), int(NOW), first) end
end

local function leave(id, job)
  redis.call('ZREM', k('leases'), id)
  redis.call('ZREM', k('active:' .. job), id)
  redis.call('ZREM', k('waiting:' .. job), id)
  redis.call('ZREM', k('outbox'), id)
  release(job)
end

-- The one place where a run gets its verdict. `more`: further fields of the row, flat. Only a durable run leaves a dead letter.
local function settle_run(id, verdict, reason, more)
  local key = k('run:' .. id)
  local job, tier, attempt = unpack(redis.call('HMGET', key, 'job', 'tier', 'attempt'))
  redis.call('HSET', key, 'state', verdict, 'reason', reason, 'ended_at', int(NOW), unpack(more or {}))
  tell(id, 'settled', attempt, reason == '' and verdict or verdict .. ': ' .. reason)
  leave(id, job)
  redis.call('HSET', k('last'), job, id)
  redis.call('HINCRBY', k('counts'), job .. '|' .. verdict, 1)
  if verdict == 'failed' and tier == 'oneiric' then
    redis.call('ZADD', k('dead'), int(NOW), id)
  else
    redis.call('PEXPIRE', key, KEEP)
  end
end

-- Back into the outbox as the next handing-out, so that copies of this one are duplicates from now on.
local function hand_out_again(id, state, delay, what, note)
  local key = k('run:' .. id)
  local job, attempt = unpack(redis.call('HMGET', key, 'job', 'attempt'))
  tell(id, what, attempt, note)
  redis.call('HSET', key, 'state', state, 'attempt', attempt + 1, 'worker', '', 'token', '')
  redis.call('ZREM', k('leases'), id)
  redis.call('ZADD', k('outbox'), int(NOW + delay), id)
  if state ~= 'retrying' then
    redis.call('ZREM', k('active:' .. job), id)
    release(job)
  end
end
