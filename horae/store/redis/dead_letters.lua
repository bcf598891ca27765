-- bury {id, body, reason}: keep a message that is not a run.
function calls.bury(a)
  redis.call('HSET', k('run:' .. a.id), 'job', '', 'tier', 'oneiric', 'cause', 'enqueue', 'state', 'failed',
    'accepted_at', int(NOW), 'ended_at', int(NOW), 'reason', a.reason, 'body', a.body, 'story', line('buried', 1, a.reason))
  redis.call('ZADD', k('ledger'), int(NOW), a.id)
  redis.call('ZADD', k('dead'), int(NOW), a.id)
  return a.id
end

return calls[ARGV[1]](cjson.decode(ARGV[2]))
