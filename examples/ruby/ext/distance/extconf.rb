require "mkmf"

create_makefile "distance"
