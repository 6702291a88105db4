--- A job_submit.lua that writes down what Slurm shows a hook of each submission, as a Lua table: see record.py.

local FIELDS = {
   "account", "array_inx", "comment", "container", "cpus_per_task", "cpus_per_tres", "dependency", "exc_nodes",
   "features", "gres", "het_job_offset", "max_nodes", "mem_per_tres", "min_cpus", "min_mem_per_cpu",
   "min_mem_per_node", "min_nodes", "name", "ntasks_per_node", "num_tasks", "partition", "pn_min_cpus", "prefer",
   "req_nodes", "reservation", "shared", "time_limit", "tres_per_job", "tres_per_node", "tres_per_socket",
   "tres_per_task", "user_id",
}
local PARTITION_FIELDS = {
   "name", "nodes", "flag_default", "def_mem_per_node", "def_mem_per_cpu", "max_mem_per_node", "max_mem_per_cpu",
   "max_time",
}

local function literal(value)
   return type(value) == "number" and ("%.0f"):format(value) or ("%q"):format(tostring(value))
end

local function write_fields(out, record, names)
   for _, name in ipairs(names) do
      if record[name] ~= nil then
         out:write(name, " = ", literal(record[name]), ", ")
      end
   end
end

function slurm_job_submit(job_desc, part_list, submit_uid)
   local out = assert(io.open("@OUTPUT@", "a"))
   if out:seek("end") == 0 then
      out:write("   partitions = {\n")
      for name, partition in pairs(part_list) do
         out:write("      ", name, " = { ")
         write_fields(out, partition, PARTITION_FIELDS)
         out:write("},\n")
      end
      out:write("   },\n")
   end
   out:write("   { ")
   write_fields(out, job_desc, FIELDS)
   out:write(job_desc.script and 'script = "#!/bin/sh", ' or "", "spank_job_env = { ")
   for index, text in pairs(job_desc.spank_job_env or {}) do
      out:write(("[%d] = %q, "):format(index, text))
   end
   out:write("} },\n")
   out:close()
   return slurm.SUCCESS
end

function slurm_job_modify()
   return slurm.SUCCESS
end

return slurm.SUCCESS
