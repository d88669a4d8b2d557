-- What each replica dropped for a command: its acknowledgement.
create table cache_command_results (
  command_id bigint not null references cache_commands on delete cascade,
  instance_id text not null,
  price integer not null,
  exchange integer not null,
  primary key (command_id, instance_id)
);
