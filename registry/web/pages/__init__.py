"""The pages, for people: rendered on the server, usable without scripts.

The contract between the frame and the pages in it stands in `registry.web.pages.shell`. Paths that the frame
and the public pages link to, wherever their handlers are:

    /sign-in?next=  /sign-up  POST /sign-out        people come and go
    /account  /account/tokens  /account/sessions    one's own
    /organizations  /organizations/new              and what belongs to one below /organizations/{name}
    /repositories/new?namespace=                    a new repository
    /r/{name}/-/settings                            everything about one that its admins may do
    /r/{name}/-/tags/{tag}/-/settings               deprecation and deletion of a tag
    /administration                                 for administrators
"""
