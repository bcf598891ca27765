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
        redis.call('DEL', k('run:' .. id))
      end
      dropped = dropped + 1
    end
  end
  return dropped
end

return respond()
