-- wrk with HEAD in the place of GET.
wrk.method = "HEAD"
