-- The first part of every script of the store. KEYS[1] is the prefix of the namespace with its hash tag, so that all keys are in one
-- slot. ARGV: the function; its arguments as JSON; the provider whose messages this server carries, or ''; the name of the provider for
-- jobs that only one program declares, which this server always carries; and, as numbers with spaces between them: how long settled runs
-- are kept (milliseconds), how many are kept for each job, after how long a fire is late (milliseconds), and the limits of
-- horae/store/limits.py.
local P = KEYS[1]
local time = redis.call('TIME')
local NOW = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local CARRIED, OWN = ARGV[3], ARGV[4]
local limits = {}
for number in string.gmatch(ARGV[5], '%d+') do limits[#limits + 1] = tonumber(number) end
local KEEP, KEEP_EACH, LATE, DEATHS, LAPSES, UNKNOWN, UNKNOWN_WAIT, GRACE, FRESH, NOTICES, OPERATION, STEP, LOOKS = unpack(limits)
local calls = {}
local idle = false          -- a function sets it if it found nothing to do, so that an idle process writes nothing
-- A script blocks the server for all clients. So a call hands out or settles at most this many runs beyond those it was given, and drops
-- at most as many. What is left stands in the store, and a later call continues.
local spare, drops = STEP, STEP

-- The values of `horae.reasons.Reason` that the scripts use. A test compares this list with the enum.
local REASON = {
  killed_its_process = 'killed its process', worker_died = 'worker died', unknown_job = 'unknown job', overlap = 'overlap', paused = 'paused',
  duplicate = 'duplicate', too_late = 'too late', not_caught_up = 'not caught up', superseded = 'superseded', requested = 'requested',
  too_old = 'too old to prove unrun', unreadable = 'unreadable',
}
local PHRASES = { other = '%s', duplicate = 'duplicate of %s', [REASON.killed_its_process] = 'killed its process %s times' }

local function k(name) return P .. name end
local function int(n) return string.format('%.0f', n) end
local NOW_TEXT = int(NOW)

-- Schema 2 calls the generation and the priority of a run `attempt` and `lane`, and keeps a reason and its note in one text. The
-- scripts read both forms, and write that of the store's schema, which `horae store upgrade` raises.
local SCHEMA = tonumber(redis.call('GET', k('schema')) or 2)
local GENERATION = SCHEMA < 3 and 'attempt' or 'generation'
local PRIORITY = SCHEMA < 3 and 'lane' or 'priority'

-- The hash field `job|word`. The name of a flow may contain `|`, so it is written as `%7C` there. `_by_job` in ledger.py decodes it.
local encoded = {}   -- by job
local function of(job, word)
  encoded[job] = encoded[job] or string.gsub(string.gsub(job, '%%', '%%25'), '|', '%%7C') .. '|'
  return encoded[job] .. word
end

-- A reason and its note in one text for people, equal to `horae.reasons.worded`. Rows of schema 2 store this text.
local function worded(reason, note)
  reason = reason or ''
  if (note or '') == '' then return reason end
  if reason == '' then return note end
  return PHRASES[reason] and string.format(PHRASES[reason], note) or reason .. ': ' .. note
end

-- A line of a run's story.
local function line(what, generation, note)
  note = note or ''
  if string.find(note, '[\r\n]') then note = string.gsub(note, '[\r\n]', ' ') end
  return NOW_TEXT .. '|' .. what .. '|' .. generation .. '|' .. note .. '\n'
end

local function tell(id, what, note)
  local key = k('run:' .. id)
  local older, newer, story = unpack(redis.call('HMGET', key, 'attempt', 'generation', 'story'))
  redis.call('HSET', key, 'story', (story or '') .. line(what, newer or older or 1, note))
end

local function notice(what, id, job, scheduled, reason, note)
  local about = { what = what, job = job, at = NOW_TEXT, scheduled_for = scheduled or '' }
  if SCHEMA < 3 then
    about.run, about.reason = id, worded(reason, note)
  else
    about.run_id, about.reason, about.note = id, reason or '', note or ''
  end
  local told = cjson.encode(about)
  if redis.call('LPUSH', k('notices'), told) > NOTICES then redis.call('LTRIM', k('notices'), 0, NOTICES - 1) end
  redis.call('HINCRBY', k('noticed'), of(job, what), 1)
end

-- The message of this generation, derived from that of generation 1. Messages have the old key names in every schema, because the
-- previous release treats a message with an unknown key as invalid.
local function body_of(message, generation)
  if tonumber(generation) == 1 then return message end
  return '{"attempt":' .. int(generation) .. ',' .. string.sub(message, 2)
end

-- Whether this server carries the messages of that provider itself.
local function carries(provider)
  return provider ~= '' and (provider == CARRIED or provider == OWN)
end

local noted = {}
local function note(provider)
  if noted[provider] then return end
  noted[provider] = true
  redis.call('SADD', k('providers'), provider)
end

-- The run is in no outbox and has a message at the provider, until a worker claims it. `queued:PROVIDER` is sorted by the instant of
-- publishing.
local function into_queue(id, provider)
  note(provider)
  redis.call('ZADD', k('queued:' .. provider), NOW_TEXT, id)
end

local function out_of_queue(id, provider)
  redis.call('ZREM', k('queued:' .. (provider or '')), id)
end

local function carry(id, provider, job, priority, message, generation)
  local queue = provider == OWN and OWN .. ':' .. job or provider
  redis.call('XADD', k('queue:' .. queue .. ':' .. (priority or 'normal')), '*', 'm', body_of(message, generation))
  into_queue(id, provider)
end

-- The outbox has an entry for each run that waits for its time or for a relay, sorted by due time. Each provider has a set of its own,
-- `outbox:PROVIDER`, so that a provider that is down delays no other. The set `outbox` has the entries of all of them, because the
-- previous release knows only that one; an entry that is not in it counts as removed.
local function into_outbox(id, provider, due)
  note(provider)
  redis.call('ZADD', k('outbox'), due, id)
  redis.call('ZADD', k('outbox:' .. provider), due, id)
end

local function out_of_outbox(id, provider)
  redis.call('ZREM', k('outbox'), id)
  redis.call('ZREM', k('outbox:' .. (provider or '')), id)
end

-- Milliseconds since the first entry of a sorted set; 0 if that is later than now, or there is none.
local function since_first(set)
  local first = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')[2]
  return first and math.max(0, NOW - tonumber(first)) or 0
end

-- The provider of a run: that of the call, which is `pinned`; else that of the move record of its job, else of the record of all jobs;
-- else that of the job or the default. A job that only one program declares cannot move.
local moved
local function routed(job, provider, pinned)
  if pinned or provider == OWN then return provider end
  if moved == nil then moved = redis.call('EXISTS', k('moves')) == 1 end
  if not moved then return provider end
  local own, every = unpack(redis.call('HMGET', k('moves'), job, '*'))
  return own or every or provider
end

-- Rows of schema 1 have the parts of a message instead of the message. Build the message from them and store it.
local function message_of_parts(id)
  local key = k('run:' .. id)
  local job, scheduled, lane, context, metadata =
    unpack(redis.call('HMGET', key, 'job', 'scheduled_for', 'lane', 'context', 'metadata'))
  local message = '{"job":' .. cjson.encode(job) .. ',"run":' .. cjson.encode(id)
  if scheduled and scheduled ~= '' then message = message .. ',"scheduled_for":' .. scheduled end
  if lane and lane ~= 'normal' then message = message .. ',"lane":' .. cjson.encode(lane) end
  if context and context ~= '{}' then message = message .. ',"context":' .. context end
  if metadata and metadata ~= '{}' then message = message .. ',"metadata":' .. metadata end
  message = message .. '}'
  redis.call('HSET', key, 'message', message)
  return message
end

-- Take the run out of the outbox of its provider and give it the provider that it has by now. Return that provider.
local function reroute(id, job, was, pinned)
  local provider = routed(job, was or '', pinned)
  if provider ~= was then
    redis.call('ZREM', k('outbox:' .. (was or '')), id)
    redis.call('HSET', k('run:' .. id), 'provider', provider)
  end
  return provider
end

-- The field `placed` of a row has the generation and the instant of a message that a broker has and delivers at that instant.
local function placed_text(generation, due) return int(generation) .. ' ' .. due end
local function placed_parts(text) return string.match(text or '', '^(%d+) (%d+)$') end

-- A run goes to another provider. If the one before has its message, raise the generation, so that this message counts as a duplicate.
local function recall(id)
  local key = k('run:' .. id)
  local placed, older, newer = unpack(redis.call('HMGET', key, 'placed', 'attempt', 'generation'))
  local generation = newer or older
  if generation and placed_parts(placed) == generation then redis.call('HSET', key, GENERATION, generation + 1) end
end

-- Hand a run out at that instant, by default now: publish it if this server carries its provider, else put it into the outbox. Return
-- true if it was published.
local function hand_out(id, due)
  local key = k('run:' .. id)
  local was, job, lane, priority, message, older, newer, story, pinned =
    unpack(redis.call('HMGET', key, 'provider', 'job', 'lane', 'priority', 'message', 'attempt', 'generation', 'story', 'pinned'))
  local generation, provider = newer or older, reroute(id, job, was, pinned)
  if not due and carries(provider) then
    carry(id, provider, job, priority or lane, message or message_of_parts(id), generation)
    out_of_outbox(id, provider)
    redis.call('HSET', key, 'state', 'queued', 'story', (story or '') .. line('published', generation))
    return true
  end
  into_outbox(id, provider, due or NOW_TEXT)
  return false
end

-- Write a row in state pending. If `at_once` is true and this server carries the provider, publish the message too and write the state
-- queued. Return false if the run exists already, else true and whether it was published.
local function put_run(r, at_once)
  local key = k('run:' .. r.id)
  if redis.call('EXISTS', key) == 1 then return false end
  local carried = at_once and carries(r.provider or '')
  local story = line('accepted', 1, r.replays and r.cause .. ' of ' .. r.replays or r.cause)
  if carried then
    carry(r.id, r.provider, r.job, r.priority, r.message, 1)
    story = story .. line('published', 1)
  end
  redis.call('HSET', key, 'job', r.job, 'tier', r.tier, 'cause', r.cause, 'state', carried and 'queued' or 'pending', GENERATION, 1,
    'scheduled_for', r.scheduled_for or '', 'accepted_at', NOW_TEXT, 'provider', r.provider or '', PRIORITY, r.priority or 'normal',
    'message', r.message or '', 'unique', r.unique or '', 'story', story)
  if r.due then redis.call('HSET', key, 'due', r.due) end
  if r.pinned then redis.call('HSET', key, 'pinned', 1) end
  local when = (r.scheduled_for or '') ~= '' and r.scheduled_for or NOW_TEXT
  redis.call('ZADD', k('ledger'), when, r.id)
  redis.call('ZADD', k('ledger:' .. r.job), when, r.id)
  if r.cause == 'schedule' and tonumber(when) > tonumber(redis.call('HGET', k('newest'), r.job) or 0) then
    redis.call('HSET', k('newest'), r.job, when)
  end
  return true, carried
end

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

-- Call the requested function. If an operation is sent again because its answer was lost, return the stored answer.
local function answer_to(asked)
  if not asked.operation then return calls[ARGV[1]](asked) end
  local known = redis.call('GET', k('operation:' .. asked.operation))
  if known then return cmsgpack.unpack(known) end
  local answer = calls[ARGV[1]](asked)
  if not idle then redis.call('SET', k('operation:' .. asked.operation), cmsgpack.pack(answer), 'PX', OPERATION) end
  return answer
end

-- The answer; if `durable` is asked for, {the answer, 1 if a replica is attached}.
local function respond()
  local asked = cjson.decode(ARGV[2])
  local answer = answer_to(asked)
  if not asked.durable then return answer end
  return { answer, string.find(redis.call('INFO', 'replication'), 'state=online', 1, true) and 1 or 0 }
end
