// A push as it lands: events of the repository, in the region that the page keeps for them.
export {};
