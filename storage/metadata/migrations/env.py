"""Alembic's entry point: runs the migrations on the connection that `migrate` hands over."""

from alembic import context

from storage.metadata.schema import is_of_the_schema, metadata

# The caller has begun a transaction: all migrations happen, or none.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_name=is_of_the_schema,
)
context.run_migrations()
