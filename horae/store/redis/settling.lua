-- The verdict of a run, and what follows from it: waiting runs go on, and old runs leave the ledger.

-- The states of a run that neither has its verdict nor a lease.
local OPEN = { pending = true, queued = true, retrying = true }

-- A script blocks the server for all clients. So a call hands out or settles at most this many runs beyond those it was given, and drops
-- at most as many. What is left stands in the store, and a later call continues.
local spare, drops = STEP, STEP

local function is_paused(job)
  return redis.call('HEXISTS', k('paused'), job) == 1 or redis.call('HEXISTS', k('paused'), '*') == 1
end

-- How many more runs of a job may be active; nil for any number. `wait` in claims.lua writes the bound.
local function room(job)
  local most = tonumber(redis.call('HGET', k('bounds'), job) or 1)
  return most > 0 and most - redis.call('ZCARD', k('active:' .. job)) or nil
end

local settle_run
local in_release = {}   -- jobs for which `release` is at work; it settles runs, and settle_run calls it

-- The fire that other waiting fires of the job give way to, and its instant; nil if it does not wait any more. `supersede` in claims.lua
-- writes it.
local function heir_of(job)
  local id = redis.call('HGET', k('waiting_heirs'), job)
  local at = id and redis.call('ZSCORE', k('waiting:' .. job), id)
  return at and id, tonumber(at or nil)
end

-- Whether a waiting run is a fire that was never begun, so that it gives way to a newer one.
local function may_give_way(id)
  local cause, attempts = unpack(redis.call('HMGET', k('run:' .. id), 'cause', 'attempts'))
  return cause == 'schedule' and (attempts or '0') == '0'
end

-- Hand out as many waiting runs of a job as may be active, longest wait first; `most` bounds it further. Return how many. If the call
-- has no work to spare, write what is left to `releasing`; `go_on_releasing` continues.
local function release(job, most)
  local waiting, went = k('waiting:' .. job), 0
  if in_release[job] or redis.call('EXISTS', waiting) == 0 then return 0 end
  if is_paused(job) then
    redis.call('SADD', k('waiters'), job)
    return 0
  end
  local free = room(job)
  if most then free = math.min(free or most, most) end
  local heir, heir_at = heir_of(job)
  in_release[job] = true
  while spare > 0 and (not free or free > 0) do
    local first, at = unpack(redis.call('ZPOPMIN', waiting))
    if not first then break end
    spare = spare - 1
    if heir and first ~= heir and tonumber(at) < heir_at and may_give_way(first) then
      settle_run(first, 'missed', REASON.superseded)
    else
      hand_out(first)
      went, free = went + 1, free and free - 1
    end
  end
  in_release[job] = nil
  if redis.call('EXISTS', waiting) == 0 then
    redis.call('SREM', k('waiters'), job)
  elseif not free or free > 0 then
    redis.call('HSET', k('releasing'), job, free or '')
  end
  return went
end

-- Continue what earlier calls of `release` and a resumption of all jobs left. Return how many runs were handed out, and whether more is
-- left.
local function go_on_releasing()
  local went = 0
  while spare > 0 do
    spare = spare - 1
    local job = redis.call('HRANDFIELD', k('releasing'))
    if job then
      local most = redis.call('HGET', k('releasing'), job)
      redis.call('HDEL', k('releasing'), job)
      went = went + release(job, tonumber(most))
    else
      job = redis.call('SPOP', k('resuming'))
      if not job then break end
      went = went + release(job)
    end
  end
  return went, redis.call('EXISTS', k('releasing'), k('resuming')) > 0
end

local counted, last = {}, {}   -- filled by settle_run, written by `finish`: counts, and the settled ids of each job

-- The fields of a row that settle_run needs, and the token. Return a table, which may be given to settle_run.
local function before_settling(id)
  return redis.call('HMGET', k('run:' .. id), 'job', 'tier', 'state', 'attempt', 'generation', 'story', 'unique', 'scheduled_for', 'provider',
    'token')
end

-- Give a run its verdict; no other function does. `more`: further fields of the row, flat. `row`: the row, if it was read already. Only a
-- durable run leaves a dead letter.
function settle_run(id, verdict, reason, note, more, row)
  local key, words = k('run:' .. id), worded(reason, note)
  local job, tier, was, older, newer, story, unique, scheduled, provider = unpack(row or before_settling(id))
  if SCHEMA >= 3 and (note or '') ~= '' then redis.call('HSET', key, 'note', note) end
  redis.call('HSET', key, 'state', verdict, 'reason', SCHEMA < 3 and words or reason, 'ended_at', NOW_TEXT,
    'story', (story or '') .. line('settled', newer or older, words == '' and verdict or verdict .. ': ' .. words), unpack(more or {}))
  redis.call('ZREM', k('active:' .. job), id)
  if was == 'running' then
    redis.call('ZREM', k('leases'), id)
  else
    redis.call('ZREM', k('waiting:' .. job), id)
    out_of_outbox(id, provider)
    out_of_queue(id, provider)
  end
  if unique and unique ~= '' and redis.call('HGET', k('unique'), of(job, unique)) == id then
    redis.call('HDEL', k('unique'), of(job, unique))
  end
  release(job)
  drops = drops + 1   -- so that a ledger at its maximum number stays there
  last[job] = last[job] or {}
  table.insert(last[job], id)
  local field = of(job, verdict)
  counted[field] = (counted[field] or 0) + 1
  if verdict == 'failed' and tier == 'oneiric' then
    redis.call('ZADD', k('dead'), NOW_TEXT, id)
  else
    redis.call('PEXPIRE', key, KEEP)
  end
  if verdict == 'failed' or verdict == 'missed' then notice(verdict, id, job, scheduled, reason, note) end
end

-- Drop a run from the ledger. The floor of the job is the newest instant of a dropped run.
local function drop_run(id, job, reaches)
  redis.call('UNLINK', k('run:' .. id), k('log:' .. id))
  redis.call('ZREM', k('ledger'), id)
  redis.call('ZREM', k('ledger:' .. job), id)
  if tonumber(reaches) > tonumber(redis.call('HGET', k('floor'), job) or 0) then redis.call('HSET', k('floor'), job, reaches) end
end

-- The fields of a row that drop_settled needs.
local function before_dropping(id)
  return redis.call('HMGET', k('run:' .. id), 'state', 'ended_at', 'placed')
end

-- Drop a run of a job that has more than its maximum number, if it is settled. Return `dropped`; `unlisted` for a dead letter, or a run
-- whose message a broker delivers later: it keeps its row and leaves only the index; `fresh` if it settled a moment ago, so that newer runs
-- of the job are kept too; nil if it is open.
local function drop_settled(id, job, reaches, row)
  local state, ended, placed = unpack(row)
  local _, comes = placed_parts(placed)
  if state == 'failed' and redis.call('ZSCORE', k('dead'), id) or ended and comes and tonumber(comes) > NOW then
    redis.call('ZREM', k('ledger:' .. job), id)
    return 'unlisted'
  end
  if not ended then return nil end
  if NOW - tonumber(ended) < FRESH then return 'fresh' end
  drop_run(id, job, reaches)
  return 'dropped'
end

-- Drop the oldest settled runs of a job beyond KEEP_EACH, out of the first `limit`.
local function trim(job, limit)
  local index = k('ledger:' .. job)
  local over = math.min(redis.call('ZCARD', index) - KEEP_EACH, limit, drops)
  if over <= 0 then return end
  local found = redis.call('ZRANGE', index, 0, over - 1, 'WITHSCORES')
  for i = 1, #found, 2 do
    local row = before_dropping(found[i])
    drops = drops - 1
    if not row[1] then
      drop_run(found[i], job, found[i + 1])
    elseif drop_settled(found[i], job, found[i + 1], row) == 'fresh' then
      break
    end
  end
end

-- Store the newest settled run of a job in the order of the ledger. An older fire that is settled later, such as a missed one, does not
-- replace it.
local function remember_last(job, ids)
  local newest = redis.call('HGET', k('last'), job)
  local newest_at = newest and tonumber(redis.call('ZSCORE', k('ledger:' .. job), newest) or nil)
  local scores = redis.call('ZMSCORE', k('ledger:' .. job), unpack(ids))
  for i, id in ipairs(ids) do
    local at = tonumber(scores[i] or nil)
    if not newest_at or at and at >= newest_at then newest, newest_at = id, at end
  end
  redis.call('HSET', k('last'), job, newest)
end

-- Write what settle_run has gathered. Every function that settles runs calls it at its end.
local function finish()
  for job, ids in pairs(last) do
    remember_last(job, ids)
    trim(job, 100)
  end
  for field, n in pairs(counted) do redis.call('HINCRBY', k('counts'), field, n) end
end

-- Hand a run out with the next generation, so that copies of the old message count as duplicates. A run that was begun stays among the
-- active ones, so no other run of the job takes its place. If a cancellation was requested and its worker did not get it, settle the
-- run as `cancelled` instead and return that verdict.
local function hand_out_again(id, state, delay, what, note)
  local key = k('run:' .. id)
  local older, newer, story, cancel, provider, was =
    unpack(redis.call('HMGET', key, 'attempt', 'generation', 'story', 'cancel', 'provider', 'state'))
  local generation = newer or older
  if cancel then
    settle_run(id, 'cancelled', cancel)
    return 'cancelled'
  end
  redis.call('HSET', key, 'state', state, GENERATION, generation + 1, 'worker', '', 'token', '',
    'story', (story or '') .. line(what, generation, note))
  redis.call('ZREM', k('leases'), id)
  if was ~= 'running' then out_of_queue(id, provider) end
  local due = delay > 0 and int(NOW + delay) or nil
  if due then redis.call('HSET', key, 'due', due) end
  hand_out(id, due)
end

-- Turn a row that cannot be read or handed out into a dead letter, and remove it from all indexes that duties read.
local function set_aside(id)
  local key = k('run:' .. id)
  if redis.call('TYPE', key).ok == 'hash' then
    -- Add the fields that settle_run needs, if they are missing.
    for field, value in pairs({ job = '', tier = 'oneiric', cause = 'enqueue', attempt = '1' }) do
      redis.call('HSETNX', key, field, value)
    end
    settle_run(id, 'failed', REASON.unreadable)
  end
  redis.call('ZREM', k('outbox'), id)
  redis.call('ZREM', k('leases'), id)
  redis.call('ZADD', k('dead'), NOW_TEXT, id)
end

-- Whether an error says that the data is not what a script of ours wrote. A server that takes no writes now (OOM, MISCONF, READONLY,
-- NOREPLICAS, ...) also makes a script fail, and then the row is sound: to set it aside would lose the run.
local function is_unreadable(failure)
  local said = type(failure) == 'table' and failure.err or tostring(failure)
  for _, part in ipairs({ 'WRONGTYPE', 'not an integer', 'not a valid float', 'attempt to', 'bad argument', 'Expected' }) do
    if string.find(said, part, 1, true) then return true end
  end
  return false
end

-- Call `step` for a run. If its row is unreadable, set the row aside and return nil, so that one bad row does not stop a duty for all
-- other runs. Any other error is raised.
local function guarded(id, step)
  local ok, answer = pcall(step)
  if ok then return answer end
  if not is_unreadable(answer) then error(answer, 0) end
  local done, failure = pcall(set_aside, id)
  if done then return end
  if not is_unreadable(failure) then error(failure, 0) end
  redis.call('ZREM', k('outbox'), id)
  redis.call('ZREM', k('leases'), id)
end

