-- Lua's coroutines. In place of a scheduler: a loop over an array. See src/serve.rs for the protocol.
-- The clock is the processor's: Lua has no other of that resolution, and nothing here waits.

local area, n = arg[1], tonumber(arg[2])
local clock, resume, yield, create = os.clock, coroutine.resume, coroutine.yield, coroutine.create

local function say(line)
  io.write(line, "\n")
  io.flush()
end

local function requests()
  say("ready")
  return function()
    local line = io.read("l")
    if not line then return nil end
    local body, count = line:match("(%S+) (%d+)")
    return body, tonumber(count)
  end
end

local function answer(start, operations)
  say(string.format("%d %d", math.floor((clock() - start) * 1e9), operations))
end

local function counting()
  local turns = 0
  while true do
    turns = turns + 1
    yield()
  end
end

local function suspended()
  local co = create(counting)
  resume(co)
  return co
end

if area == "switch" then
  -- In the loop: resume and yield.
  local co = create(function(i)
    while true do i = yield(i + 1) end
  end)
  for _, count in requests() do
    local start = clock()
    for i = 1, count do resume(co, i) end
    answer(start, count)
  end
elseif area == "yield" then
  -- In the loop: a resume of each of n. A Lua local is in memory with every body.
  local tasks = {}
  for k = 1, n do tasks[k] = suspended() end
  for body, count in requests() do
    if body == "shuffled" then
      math.randomseed(1)
      for k = n, 2, -1 do
        local other = math.random(k)
        tasks[k], tasks[other] = tasks[other], tasks[k]
      end
    end
    local start = clock()
    for _ = 1, count do
      for k = 1, n do resume(tasks[k]) end
    end
    answer(start, count * n)
  end
elseif area == "spawn" then
  -- In the loop: a coroutine made, run to its end and dropped (the collector is at work, as it is in programs).
  local function add_one(i) return i + 1 end
  for _, count in requests() do
    local start = clock()
    for i = 1, count do
      if n == 1 then
        resume(create(add_one), i)
      else
        local all = {}
        for k = 1, n do all[k] = create(add_one) end
        for k = 1, n do resume(all[k], k) end
      end
    end
    answer(start, count * n)
  end
elseif area == "memory" then
  say("ready")
  io.read("l")
  local all, why = {}, ""
  for k = 1, n do
    if k % 1000 == 0 then say("at " .. k) end
    local ok, co = pcall(suspended)
    if not ok then
      why = tostring(co)
      break
    end
    all[k] = co
  end
  say("held " .. #all .. " " .. why)
  io.read("l")
  os.exit(0, false)
end
