-- The first part of every script of the store. KEYS[1] is the prefix of the namespace with its hash tag, so that all keys are in one
-- slot. ARGV: the function; its arguments as JSON; the provider whose messages this server carries, or ''; the name of the provider for
-- jobs that only one program declares, which this server always carries; and, as a JSON list of numbers: how long settled runs
-- are kept (milliseconds), how many are kept for each job, after how long a fire is late (milliseconds), and the limits of
-- horae/store/limits.py.
local P = KEYS[1]
local time = redis.call('TIME')
local NOW = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local CARRIED, OWN = ARGV[3], ARGV[4]
local KEEP, KEEP_EACH, LATE, DEATHS, LAPSES, UNKNOWN_JOB, UNKNOWN_JOB_WAIT, GRACE, FRESH, NOTICES, OPERATION, STEP, LOOKS =
  unpack(cjson.decode(ARGV[5]))
local calls = {}
local idle = false          -- a function sets it if it found nothing to do, so that an idle process writes nothing

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
