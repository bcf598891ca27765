-- Dead letters: messages that are no run, and the list of all letters.

-- bury {id, job, body, reason, note}: keep a message that is not a run.
function calls.bury(a)
  local words = worded(a.reason, a.note)
  redis.call('HSET', k('run:' .. a.id), 'job', a.job, 'tier', 'oneiric', 'cause', 'enqueue', 'state', 'failed',
    'accepted_at', NOW_TEXT, 'ended_at', NOW_TEXT, 'reason', SCHEMA < 3 and words or a.reason, 'note', SCHEMA < 3 and '' or a.note, 'body', a.body, 'story', line('buried', 1, words))
  redis.call('ZADD', k('ledger'), NOW_TEXT, a.id)
  redis.call('ZADD', k('dead'), NOW_TEXT, a.id)
  notice('failed', a.id, a.job, '', a.reason, a.note)
  return a.id
end

-- drop {runs} -> how many letters existed. The rows stay for the retention of settled runs.
function calls.drop(a)
  local dropped = 0
  for _, id in ipairs(a.runs) do
    if redis.call('ZREM', k('dead'), id) == 1 then
      if redis.call('TYPE', k('run:' .. id)).ok == 'hash' then
        tell(id, 'dropped')
        redis.call('PEXPIRE', k('run:' .. id), KEEP)
      else
        redis.call('UNLINK', k('run:' .. id))
      end
      dropped = dropped + 1
    end
  end
  return dropped
end

-- The rank after the entry {id, score} in the order of the page, or after all entries before its score if the entry is gone.
local function rank_after(id, score, newest_first)
  if id == '' then return 0 end
  local rank = redis.call(newest_first and 'ZREVRANK' or 'ZRANK', k('dead'), id)
  if rank then return rank + 1 end
  if newest_first then return redis.call('ZCOUNT', k('dead'), '(' .. score, '+inf') end
  return redis.call('ZCOUNT', k('dead'), '-inf', '(' .. score)
end

-- page {after = [id, score], newest_first, job?, limit} -> {1 if more is left, the `after` of the next call, then the ids}. Looks at the
-- next LOOKS letters for up to `limit` letters of the job.
function calls.page(a)
  local rank = rank_after(a.after[1], a.after[2], a.newest_first)
  local looks = a.job and LOOKS or math.min(LOOKS, a.limit)
  local found = redis.call(a.newest_first and 'ZREVRANGE' or 'ZRANGE', k('dead'), rank, rank + looks - 1, 'WITHSCORES')
  local answer, last = { #found == 2 * looks and 1 or 0, '', '' }, #found - 1
  for i = 1, #found, 2 do
    -- A key of another type makes HGET fail; it is no letter of the job.
    if not a.job or redis.pcall('HGET', k('run:' .. found[i]), 'job') == a.job then answer[#answer + 1] = found[i] end
    if #answer == a.limit + 3 then
      answer[1], last = 1, i
      break
    end
  end
  if answer[1] == 1 then answer[2], answer[3] = found[last], found[last + 1] end
  return answer
end

return respond()
