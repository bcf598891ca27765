-- Where a run is between its acceptance and its claim: in the outbox, or in the queue of a provider.

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

